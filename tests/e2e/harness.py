"""What the end-to-end tests share: sandboxes of real processes, commands with exit codes, TAP.

A test program is a list of functions that take the suite; each of their checks is one line of TAP.
Whatever happens, every process that a test started is ended by its pid, and its directory removed.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

# Where the programs are: directories with colons between them.
BIN = os.environ.get("ONUS_BIN") or os.path.join(os.path.dirname(__file__), "..", "..", "bin")

OK, ERROR, USAGE, UNREACHABLE, REJECTED, INVALID, CANNOT_AUDIT = range(7)
MISBEHAVIOUR, CORRUPT = 10, 11

COMMAND_TIMEOUT_S = 60
PORT_STEP = 10  # from one replica of a sandbox to the next
PORTS_FROM, PORTS_TO = 20000, 32000  # below the range from which the system takes its own


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
    """Is this process running? One that ended and was not reaped is not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, timeout=20.0, interval=0.05):
    """Poll; returns the last value of the condition."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(interval)


def free_ports(count):
    """The first of `count` ports in a row on which nobody listens."""
    start = PORTS_FROM + os.getpid() * 37 % (PORTS_TO - PORTS_FROM)
    for step in range(0, PORTS_TO - PORTS_FROM, count):
        base = PORTS_FROM + (start - PORTS_FROM + step) % (PORTS_TO - PORTS_FROM - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    sock = stack.enter_context(socket.socket())
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("127.0.0.1", port))
                return base
            except OSError:
                continue
    raise RuntimeError(f"no {count} free ports in a row from {PORTS_FROM} to {PORTS_TO}")


# ---- a consortium --------------------------------------------------------------------------------


class Sandbox:
    """A consortium made by `onus sandbox up`; its replicas are stopped and started one by one."""

    def __init__(self, suite, name="sandbox", replicas=4):
        self.suite = suite
        self.dir = os.path.join(suite.dir, name)
        self.count = replicas
        self.base_port = free_ports(PORT_STEP * replicas)
        self.replicas = {}  # id: Popen of those started here
        self.context = os.path.join(self.dir, "context")

    def up(self):
        """Found it, and take its replicas over."""
        suite = self.suite
        result = run(program("onus"), "sandbox", "up", "-n", self.count, "--dir", self.dir,
                     "--base-port", self.base_port, "--detach")
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
            with open(self.log(replica), "ab") as log:
                started = subprocess.Popen(
                    [program("onusd"), "--config", self.config(replica)], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True)
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
        started = subprocess.Popen(
            [program("onus"), "-C", self.context, "load", path, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.suite.pids.add(started.pid)
        return started

    def status(self):
        """The result of `onus status -o json`; its JSON, or None."""
        result = self.onus("-o", "json", "status")
        try:
            return result, result.json()
        except ValueError:
            return result, None

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


def finish(process, timeout):
    """Wait for a process started by Sandbox.load."""
    try:
        out, err = process.communicate(timeout=timeout)
        return Result(["onus", "load"], process.returncode, text(out), text(err))
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Result(["onus", "load"], "timeout", text(out), text(err))


# ---- tests ---------------------------------------------------------------------------------------


class Suite:
    """Counts checks and prints them as TAP; owns a directory and every pid that was started."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="onus-e2e-")
        self.pids = set()
        self.count = 0
        self.failed = 0

    def check(self, holds, title, detail=None):
        self.count += 1
        self.failed += not holds
        print(f"{'ok' if holds else 'not ok'} {self.count} - {title}", flush=True)
        if not holds and detail is not None:
            for line in str(detail).splitlines():
                print(f"#   {line}")
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


def main(*tests):
    """Run the tests in order, each to its end; exit 1 when a check failed."""

    def interrupted(number, _):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, interrupted)
    suite = Suite()
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
