"""What the end-to-end tests share: sandboxes of real processes, commands with exit codes, TAP.

A test program is a list of functions that take the suite; each of their checks is one line of TAP.
Whatever happens, every process that a test started is ended by its pid, and its directory removed.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

# Where the programs are: directories with colons between them.
BIN = os.environ.get("ONUS_BIN") or os.path.join(os.path.dirname(__file__), "..", "..", "bin")

OK, ERROR, USAGE, UNREACHABLE, REJECTED, INVALID, CANNOT_AUDIT = range(7)
MISBEHAVIOUR, CORRUPT = 10, 11

COMMAND_TIMEOUT_S = 60
PORT_STEP = 10  # from one replica of a sandbox to the next
PORTS = 12000  # from so many ports, beside those that the system gives to connections, tests take theirs


def program(name):
    found = shutil.which(name, path=BIN)
    if found is None:
        sys.exit(f"{name} is not in {BIN}: build first")
    return os.path.abspath(found)


# ---- running -------------------------------------------------------------------------------------


class Result:
    """How a command ended, and what it said."""

    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def __str__(self):
        text = f"{' '.join(self.command)}\nexit {self.code}"
        for name, content in (("stdout", self.out), ("stderr", self.err)):
            if content:
                text += f"\n{name}: " + content[-3000:].rstrip()
        return text

    def json(self):
        return json.loads(self.out)


def run(*command, timeout=COMMAND_TIMEOUT_S, stdin=None):
    """Run a command to its end; arguments are turned into text."""
    words = [word if isinstance(word, bytes) else str(word) for word in command]
    shown = [word if isinstance(word, str) else word.decode("utf-8", "replace") for word in words]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as expired:
        return Result(shown, "timeout", text(expired.stdout), text(expired.stderr))
    return Result(shown, done.returncode, text(done.stdout), text(done.stderr))


def text(content):
    return (content or b"").decode("utf-8", "replace")


def alive(pid):
    """Is a thread of this process running? Its first may end, unreaped, while another that waits
    for the disk still holds the files and the ports."""
    states = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii",
                          errors="replace") as file:
                    states.append(file.read().rpartition(")")[2].split()[0])
    except OSError:
        return False
    return any(state not in "ZX" for state in states)


def limit(name):
    """A number of base/limits.h."""
    path = os.path.join(os.path.dirname(__file__), "..", "..", "base", "limits.h")
    with open(path, encoding="utf-8") as file:
        return int(re.search(rf"(?m)^#define {name} (\d+)u?\b", file.read())[1])


def wait_until(condition, timeout=20.0, interval=0.05):
    """Poll; returns the last value of the condition."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(interval)


CLAIMED = []  # keeps the claims of this process


def port_range():
    """Ports that no connection gets: one that waits out its end would keep a replica from
    listening."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first, last = map(int, file.read().split())
    if first > 1024 + PORTS // 2:
        return max(1024, first - PORTS), first
    return (last + 1, 65536) if last < 65536 - PORTS // 2 else (20000, 20000 + PORTS)


def can_listen(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holders(port):
    """What the system knows of those that hold a port: lines of /proc/net/tcp."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        return [line for line in file if line.split()[1].endswith(f":{port:04X}")]


def claim(port):
    """No other test that runs at the same time may take this port: a name until the process ends."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0onus-e2e-port-{port}")
    return sock


def free_ports(count):
    """The first of `count` ports in a row on which nobody listens, and that nobody else claims."""
    first, end = port_range()
    for step in range(0, end - first, count):
        base = first + (os.getpid() * 37 + step) % (end - first - count)
        with contextlib.ExitStack() as claims:
            try:
                for port in range(base, base + count):
                    claims.enter_context(claim(port))
            except OSError:
                continue
            if all(can_listen(port) for port in range(base, base + count)):
                CLAIMED.append(claims.pop_all())
                return base
    raise RuntimeError(f"no {count} free ports in a row from {first} to {end}")


# ---- a consortium --------------------------------------------------------------------------------


class Sandbox:
    """A consortium made by `onus sandbox up`; its replicas are stopped and started one by one."""

    def __init__(self, suite, name="sandbox", replicas=4, options=()):
        self.suite = suite
        self.dir = os.path.join(suite.dir, name)
        self.count = replicas
        self.options = options  # of `onus sandbox up`
        self.base_port = free_ports(PORT_STEP * replicas)
        self.replicas = {}  # id: Popen of those started here
        self.environment = {}  # id: variables that its process gets in addition
        self.programs = {}  # id: what is started in the place of onusd
        self.context = os.path.join(self.dir, "context")

    def up(self):
        """Found it, and take its replicas over."""
        suite = self.suite
        result = run(program("onus"), "sandbox", "up", "-n", self.count, "--dir", self.dir,
                     "--base-port", self.base_port, "--detach", *self.options)
        suite.check(result.code == OK, "onus sandbox up", result)
        suite.pids.update(pid for pid in self.pids().values() if pid)
        return self

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def home(self, replica):
        return self.path(f"replica-{replica}")

    def config(self, replica):
        return os.path.join(self.home(replica), "replica.yaml")

    def ledger(self, replica):
        return os.path.join(self.home(replica), "data", "ledger")

    def log(self, replica):
        return os.path.join(self.home(replica), "onusd.log")

    def peer_port(self, replica):
        return self.client_port(replica) + 1

    def listens(self, replica):
        """The ports on which it listens itself, whatever the others call."""
        with open(self.config(replica), encoding="utf-8") as file:
            listen = file.read().partition("\nlisten:\n")[2]
        return [int(port) for port in re.findall(r"(?m)^  (?:peer|client): .*:(\d+)", listen)]

    def client_port(self, replica):
        return self.base_port + PORT_STEP * replica

    def pids(self):
        """Of each replica the pid of its process, or None."""
        found = {}
        for replica in range(self.count):
            found[replica] = None
            started = self.replicas.get(replica)
            if started is not None:
                found[replica] = started.pid if started.poll() is None else None
                continue
            try:
                with open(os.path.join(self.home(replica), "pid"), encoding="ascii") as file:
                    pid = int(file.read())
            except (OSError, ValueError):
                continue
            if alive(pid):
                found[replica] = pid
        return found

    def kill(self, *replicas, how=signal.SIGKILL):
        """End replicas and wait until they are gone."""
        pids = {replica: self.pids()[replica] for replica in replicas}
        for pid in pids.values():
            if pid:
                os.kill(pid, how)
        for replica, pid in pids.items():
            if pid and not wait_until(lambda pid=pid: not alive(pid)):
                raise RuntimeError(f"replica {replica} does not end")
            if replica in self.replicas:
                self.replicas[replica].wait()

    def start(self, *replicas):
        """Start replicas again, as one would by hand."""
        for replica in replicas:
            for port in self.listens(replica):
                if not wait_until(lambda port=port: can_listen(port), 60):
                    raise RuntimeError(f"port {port} stays in use: {holders(port)}")
            with open(self.log(replica), "ab") as log:
                started = subprocess.Popen(
                    [program(self.programs.get(replica, "onusd")), "--config",
                     self.config(replica)], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                    env={**os.environ, **self.environment.get(replica, {})})
            self.replicas[replica] = started
            self.suite.pids.add(started.pid)

    def down(self):
        self.kill(*range(self.count), how=signal.SIGTERM)

    def onus(self, *arguments, timeout=COMMAND_TIMEOUT_S, stdin=None):
        return run(program("onus"), "-C", self.context, *arguments, timeout=timeout, stdin=stdin)

    def load(self, items, *arguments):
        """Start `onus load` with the lines in a file; Popen."""
        path = tempfile.mktemp(dir=self.suite.dir, suffix=".load")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(item) + "\n" for item in items)
        return self.background("load", path, *arguments)

    def background(self, *arguments):
        """Start `onus`; Popen."""
        started = subprocess.Popen(
            [program("onus"), "-C", self.context, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.suite.pids.add(started.pid)
        return started

    def pause(self, *replicas):
        """Stop processes where they are; they know nothing of it."""
        for replica in replicas:
            os.kill(self.pids()[replica], signal.SIGSTOP)

    def resume(self, *replicas):
        for replica in replicas:
            os.kill(self.pids()[replica], signal.SIGCONT)

    def log_text(self, replica):
        with open(self.log(replica), encoding="utf-8", errors="replace") as file:
            return file.read()

    def status(self):
        """The result of `onus status -o json`; its JSON, or None."""
        result = self.onus("-o", "json", "status")
        try:
            return result, result.json()
        except ValueError:
            return result, None

    def replica_status(self, replica):
        """What `onus status` knows of a replica; empty: nothing."""
        _, status = self.status()
        for item in status["replicas"] if status else []:
            if int(item["id"]) == replica:
                return item
        return {}

    def voting(self, *replicas):
        """Do these replicas vote, all of them?"""
        _, status = self.status()
        items = {int(item["id"]): item for item in status["replicas"]} if status else {}
        return all(items.get(replica, {}).get("voting") is True for replica in replicas)

    def primary(self, timeout=30):
        """The replica that says it is the primary of the highest view; None: nobody does."""
        def find():
            _, status = self.status()
            claims = [(int(item["view"]), int(item["id"]))
                      for item in (status["replicas"] if status else [])
                      if item["role"] == "primary"]
            return [max(claims)[1]] if claims else []

        found = wait_until(find, timeout)
        return found[0] if found else None

    def committed(self):
        """How many transactions are committed, as those say that answer."""
        _, status = self.status()
        return max((int(item.get("committed") or 0) for item in
                    (status["replicas"] if status else [])), default=0)

    def commits(self, title, timeout=30):
        """Check that a transaction gets its receipt; returns the seconds that it took."""
        started = time.monotonic()
        result = self.onus("--timeout", timeout, "submit", "kv.put", "commits", title,
                           timeout=timeout + 10)
        self.suite.code(result, OK, title)
        return time.monotonic() - started

    def follows(self, *replicas, timeout=30):
        """Do these replicas, under load too, soon get where the first of all stands now?"""
        goal = self.committed()
        if goal == 0:
            return False

        def there():
            return all(int(self.replica_status(replica).get("committed") or 0) >= goal
                       for replica in replicas)

        return wait_until(there, timeout)

    def level(self):
        """Do all replicas stand at the same committed batch?"""
        _, status = self.status()
        replicas = status["replicas"] if status else []
        return len({replica.get("committed_seq") for replica in replicas}) == 1

    def service(self):
        result = self.onus("-o", "json", "genesis", "show", self.path("genesis.onus"))
        return result.json()["service"]

    def ready(self, timeout=20):
        """Wait until the service commits; returns the last result."""
        last = []

        def works():
            last[:] = [self.onus("submit", "kv.put", "ready", "yes", timeout=timeout)]
            return last[0].code == OK

        wait_until(works, timeout)
        return last[0]

    # What clients hold, and what the auditor thinks of it.

    def receipts(self):
        """The ids of the transactions that have a receipt."""
        lines = [line.split() for line in self.onus("receipt", "list").out.splitlines()]
        return {words[0] for words in lines if len(words) > 2 and words[1] == "index"}

    def audit(self, *replicas, timeout=120):
        """Hold the ledgers of these replicas, or of all, against all receipts."""
        ledgers = [word for replica in replicas or range(self.count)
                   for word in ("--ledger", self.ledger(replica))]
        return run(program("onus-audit"), "run", "--service", self.service(), *ledgers,
                   "--receipts", os.path.join(self.context, "receipts"), timeout=timeout)


def finish(process, timeout):
    """Wait for a process started by Sandbox.load or Sandbox.background."""
    shown = ["onus", *process.args[3:]]
    try:
        out, err = process.communicate(timeout=timeout)
        return Result(shown, process.returncode, text(out), text(err))
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Result(shown, "timeout", text(out), text(err))


class Load:
    """A load that lasts until finish(): `onus bench`, whose client is killed in the end, and sends
    again what has no receipt when it is back."""

    DURATION_S = 3600
    ACCOUNTS = 10000  # that it makes before it begins

    def __init__(self, sandbox, *arguments):
        self.sandbox = sandbox
        self.before = sandbox.committed()
        self.process = sandbox.background("bench", "--duration", self.DURATION_S, *arguments)

    def begun(self, timeout=30):
        """Wait until its accounts are made, and more."""
        goal = self.before + self.ACCOUNTS + 500
        return wait_until(lambda: self.sandbox.committed() > goal, timeout)

    def finish(self, title):
        """It was under way all the time, and each of its requests gets its receipt."""
        suite = self.sandbox.suite
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
            result = self.sandbox.onus("-o", "json", "load", "-", stdin=b"")
            # What a procedure refused has its receipt too.
            good = result.code in (OK, REJECTED) and int(result.json()["rejected"]) == 0
        else:
            good, result = False, finish(self.process, 0)
        suite.check(good, title, result)


class Meter:
    """Watches ledgers grow: a thread notes their sizes, so that a rate can be told for any time."""

    INTERVAL_S = 0.02

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.samples = []  # (time, {replica: bytes})
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def _run(self):
        while not self.stopping.is_set():
            sizes = {replica: self._size(replica) for replica in range(self.sandbox.count)}
            self.samples.append((time.monotonic(), sizes))
            self.stopping.wait(self.INTERVAL_S)

    def _size(self, replica):
        total = 0
        with contextlib.suppress(OSError), os.scandir(self.sandbox.ledger(replica)) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    total += file.stat().st_size
        return total

    def size(self, replica):
        return self.samples[-1][1][replica] if self.samples else 0

    def rate(self, replica, start, end):
        """Bytes a second between two times."""
        inside = [sample for sample in self.samples if start <= sample[0] <= end]
        if len(inside) < 2:
            return 0.0
        grown = inside[-1][1][replica] - inside[0][1][replica]
        return grown / (inside[-1][0] - inside[0][0])

    def rate_of_last(self, replica, seconds):
        now = time.monotonic()
        return self.rate(replica, now - seconds, now)


# ---- tests ---------------------------------------------------------------------------------------


class Suite:
    """Counts checks and prints them as TAP; owns a directory and every pid that was started."""

    def __init__(self, place=None):
        self.dir = tempfile.mkdtemp(prefix="onus-e2e-", dir=place)
        self.pids = set()
        self.count = 0
        self.failed = 0

    def check(self, holds, title, detail=None):
        self.count += 1
        self.failed += not holds
        print(f"{'ok' if holds else 'not ok'} {self.count} - {title}", flush=True)
        if not holds and detail is not None:
            lines = detail if isinstance(detail, list) else str(detail).splitlines()
            for line in (text for entry in lines for text in str(entry).splitlines()):
                print(f"#   {line}", flush=True)
                print(f"{title}: {line}", file=sys.stderr, flush=True)
        return bool(holds)

    def code(self, result, code, title):
        """Check an exit code."""
        return self.check(result.code == code, title, f"expected exit {code}\n{result}")

    def says(self, result, code, title, *words):
        """Check an exit code, and that one line of stderr names all the words."""
        lines = [line for line in result.err.splitlines() if all(str(w) in line for w in words)]
        return self.check(result.code == code and lines, title,
                          f"expected exit {code} and a line with {words}\n{result}")

    def close(self):
        for pid in self.pids:
            if alive(pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        keep = os.environ.get("ONUS_E2E_KEEP")
        if keep and self.failed:
            print(f"# kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def main(*tests, place=None):
    """Run the tests in order, each to its end; exit 1 when a check failed. place: the directory for
    all files, if not the usual one."""

    def interrupted(number, _):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, interrupted)
    suite = Suite(place)
    try:
        for test in tests:
            try:
                test(suite)
            except Exception:  # a test that cannot go on is a failure, not the end of the others
                suite.check(False, f"{test.__name__} runs to its end", traceback.format_exc())
    finally:
        suite.close()
    print(f"1..{suite.count}")
    sys.exit(1 if suite.failed else 0)
