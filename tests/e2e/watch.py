#!/usr/bin/env python3
"""The continuous audit: it follows a live service over the network, takes in receipts by a folder
and a socket, tells an outage from guilt, and survives kill -9. Then colluders rewrite history, and
it names exactly them, once.
"""

import json
import os
import shutil
import signal
import socket
import subprocess

import harness
from harness import MISBEHAVIOUR, OK, USAGE, Sandbox, program, run

INTERVAL = 12  # batches from one checkpoint to the next
MEMBERS = ["bank-a", "bank-b", "bank-c", "bank-d"]
STEAL = ["--drop", "1", "--add", "bank.send_payment alice mallory 100"]
MISUSES = (["--state", "x"], ["--ledger", "x", "--state", "y"],
           ["--context", "x", "--state", "y", "--interval", "0"],
           ["--context", "x", "--state", "y", "-o", "xml"], ["--context", "x"])


class Watcher:
    """A watcher that runs until it is ended; its events as they come."""

    def __init__(self, suite, name, *options):
        self.suite = suite
        self.state = os.path.join(suite.dir, name)
        self.options = [str(option) for option in options]
        self.out = os.path.join(suite.dir, name + ".out")
        self.process = None

    def command(self, *more):
        return [program("onus-audit"), "watch", "--state", self.state, "-o", "json",
                *self.options, *more]

    def start(self):
        with open(self.out, "ab") as out:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, start_new_session=True)
        self.suite.pids.add(self.process.pid)
        return self

    def end(self, how=signal.SIGTERM, timeout=30):
        """Returns: the exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout)

    def events(self, *kinds):
        found = []
        with open(self.out, encoding="utf-8") as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if event["kind"] in kinds:
                    found.append(event)
        return found

    def status(self):
        """The last one that was told."""
        events = self.events("status")
        return events[-1]["status"] if events else {}

    def number(self, name):
        return int(self.status().get(name, 0))

    def waits_for(self, title, condition, timeout=60):
        holds = harness.wait_until(condition, timeout, 0.2)
        with open(self.out, encoding="utf-8") as lines:
            return self.suite.check(holds, title, lines.readlines()[-12:])


def ask(path, content):
    """What the socket answers to these bytes."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(path)
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        while piece := client.recv(4096):
            answer += piece
    return answer.decode()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def usage(suite):
    for options in MISUSES:
        suite.code(run(program("onus-audit"), "watch", *options), USAGE,
                   f"refused: watch {' '.join(options)}")


# ---- a live service ------------------------------------------------------------------------------


class Live:
    """A service under load, and a watcher that follows it over the network."""

    def __init__(self, suite):
        self.suite = suite
        self.sandbox = Sandbox(suite, options=("--checkpoint-interval", INTERVAL)).up()
        self.folder = os.path.join(suite.dir, "folder")
        self.socket = os.path.join(suite.dir, "w.sock")
        os.mkdir(self.folder)
        self.watcher = Watcher(suite, "watch", "--context", self.sandbox.context, "--receipts",
                               self.folder, "--socket", self.socket, "--interval", 1,
                               "--deadline", 4)

    def follow(self):
        suite, sandbox, watcher = self.suite, self.sandbox, self.watcher
        suite.code(sandbox.ready(), OK, "the service commits")
        self.load = sandbox.background("bench", "--clients", 2, "--duration", 3600)
        watcher.start()
        watcher.waits_for("it audits what the replicas hand over",
                          lambda: watcher.number("audited_batch") > 3 * INTERVAL)
        first = watcher.number("audited_batch")
        watcher.waits_for("and follows under load",
                          lambda: watcher.number("audited_batch") > first + 2 * INTERVAL)

    def give_receipts(self):
        suite, sandbox, watcher = self.suite, self.sandbox, self.watcher
        suite.check(os.stat(self.socket).st_mode & 0o777 == 0o600, "the socket is its user's")
        one = os.path.join(self.folder, "one.receipt")
        suite.code(sandbox.onus("submit", "kv.put", "one", "1", "--receipt", one), OK, "a receipt")
        exported = os.path.join(suite.dir, "all.receipts")
        suite.code(sandbox.onus("receipt", "export", exported, timeout=120), OK, "an export")
        answer = ask(self.socket, read(exported))
        suite.check(answer.startswith("kept ") and "invalid 0" in answer and
                    not answer.startswith("kept 0,"), "the socket takes an export", answer)
        self.taken = int(answer.split()[1].rstrip(","))
        single = read(one)
        framed = len(single).to_bytes(4, "big") + single
        again = ask(self.socket, framed)
        suite.check(again.startswith("kept 0, known 1"), "what it has is known", again)
        garbage = ask(self.socket, b"\0\0\0\7garbage of no kind")
        suite.check("error" in garbage, "garbage is refused", garbage)
        watcher.waits_for("all of them are held against the ledgers",
                          lambda: watcher.number("receipts") >= self.taken and
                          watcher.number("receipts_waiting") == 0)

    def be_killed(self):
        suite, watcher = self.suite, self.watcher
        kept = watcher.number("receipts")
        for _ in range(3):
            watcher.end(signal.SIGKILL)
            harness.wait_until(lambda: False, 0.3)
            watcher.start()
            before = len(watcher.events("status"))
            watcher.waits_for("after kill -9 it goes on", lambda seen=before: len(
                watcher.events("status")) > seen)
        suite.check(watcher.number("receipts") >= kept, "no receipt is lost", watcher.status())
        again = ask(self.socket, read(os.path.join(suite.dir, "all.receipts")))
        suite.check(again.startswith("kept 0, known"), "and none is taken twice", again)

    def outage(self):
        suite, sandbox, watcher = self.suite, self.sandbox, self.watcher
        for title, stop, go in (("killed", sandbox.kill, sandbox.start),
                                ("paused", sandbox.pause, sandbox.resume)):
            begun, over = (len(watcher.events(kind)) for kind in ("outage", "outage-over"))
            stop(3)
            watcher.waits_for(f"a replica that is {title} is an outage",
                              lambda seen=begun: len(watcher.events("outage")) > seen)
            told = watcher.events("outage")[-1]
            suite.check(told["member"] == "bank-d" and told["replica"] == 3 and "since" in told,
                        "the outage says who, and since when", told)
            report = run(program("onus-audit"), "verify", "--service", sandbox.service(),
                         told.get("report", ""))
            suite.code(report, OK, "its report verifies")
            go(3)
            watcher.waits_for("and its end is told",
                              lambda seen=over: len(watcher.events("outage-over")) > seen)
        suite.check(len(watcher.events("outage")) == len(watcher.events("outage-over")) == 2,
                    "each once", watcher.events("outage", "outage-over"))

    def end(self):
        suite, sandbox, watcher = self.suite, self.sandbox, self.watcher
        self.load.kill()
        self.load.communicate()
        watcher.waits_for("at rest all replicas are level",
                          lambda: watcher.number("replicas_level") == 4 and
                          watcher.number("ledgers_behind") == 0 and
                          watcher.number("receipts_waiting") == 0)
        suite.check(not watcher.events("misbehaviour", "corruption", "cannot-audit", "bad-receipt"),
                    "nobody was blamed for any of it",
                    watcher.events("misbehaviour", "corruption", "cannot-audit", "bad-receipt"))
        code = watcher.end()
        suite.check(code == OK, "SIGTERM ends it with exit 0", read(watcher.out).decode()[-2000:])
        suite.check(not os.path.exists(self.socket), "its socket is gone")
        sandbox.down()


def live(suite):
    service = Live(suite)
    service.follow()
    service.give_receipts()
    service.be_killed()
    service.outage()
    service.end()


# ---- history is rewritten ------------------------------------------------------------------------


def rewritten(suite):
    sandbox = Sandbox(suite, name="bank", options=("--checkpoint-interval", INTERVAL)).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    for account in (("alice", 100, 0), ("bob", 0, 0), ("mallory", 0, 0)):
        suite.code(sandbox.onus("submit", "bank.create_account", *account), OK, "an account")
    sandbox.kill(3)
    folder = os.path.join(suite.dir, "alice")
    os.mkdir(folder)
    payment = os.path.join(folder, "payment.receipt")
    suite.code(sandbox.onus("submit", "bank.send_payment", "alice", "bob", "25", "--receipt",
                            payment), OK, "alice pays bob while replica 3 is cut off")
    lines = [["kv.put", "later", f"{n}"] for n in range(200)]
    suite.code(harness.finish(sandbox.load(lines, "--bundle", 1), 60), OK, "life goes on")
    harness.wait_until(lambda: False, 0.5)  # evidence for all of it
    service = sandbox.service()
    shown = sandbox.onus("-o", "json", "receipt", "show", payment)
    batch = int(shown.json()["batch"]["seq"])
    sandbox.down()

    ledger = os.path.join(suite.dir, "copy")
    shutil.copytree(sandbox.ledger(1), ledger)
    watcher = Watcher(suite, "court", "--service", service, "--ledger", ledger, "--receipts",
                      folder)
    truth = run(*watcher.command("--once"), timeout=120)
    suite.code(truth, OK, "the true history convicts nobody")
    history = os.path.join(suite.dir, "history")
    suite.code(run(program("onus-forge"), "rewrite", "--sandbox", sandbox.dir, "--colluders",
                   "0,1,2", "--from-batch", batch, "--out", history, *STEAL), OK,
               "three replicas rewrite history")
    shutil.rmtree(ledger)
    shutil.copytree(os.path.join(history, "ledgers", "bank-b"), ledger)

    told = []
    for title in ("history that changes", "a second time", "a third time"):
        result = run(*watcher.command("--once"), timeout=120)
        suite.code(result, MISBEHAVIOUR, f"{title}: exit 10")
        told.append([event for event in map(json.loads, result.out.splitlines())
                     if event["kind"] == "misbehaviour"])
    suite.check(told[0] and not told[1] and not told[2], "each proof is told once", told)
    blamed = {who["member"] for event in told[0] for who in event["finding"]["blamed"]}
    suite.check(blamed == set(MEMBERS[:3]), "exactly the guilty are named", blamed)
    for event in told[0]:
        suite.code(run(program("onus-audit"), "verify", "--service", service, event["evidence"]),
                   OK, "the evidence verifies")


if __name__ == "__main__":
    harness.main(usage, live, rewritten)
