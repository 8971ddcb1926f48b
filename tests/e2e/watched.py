#!/usr/bin/env python3
"""Auditors stay with a consortium that changes: a replica gives its place to another one while a
watcher looks on over the network. It asks the new replica, takes receipts of the new configuration,
tells an outage there by its member's name, and goes on from its state after kill -9. A fetch has the
ledgers of the new replicas, a checkpoint of theirs, and the links that it lacks; one of them that
signs for what is no ledger is convicted. A receipt is judged by the links that it brings.
"""

import os
import shutil
import signal

from harness import CANNOT_AUDIT, MISBEHAVIOUR, OK, USAGE, main, program, run, wait_until
from reconfigure import NAMES, Service
from watch import Watcher, ask, read

INTERVAL = 12  # batches from one checkpoint to the next


class Watched:
    def __init__(self, suite):
        self.suite = suite
        self.service = Service(suite, options=("--checkpoint-interval", INTERVAL)).up()
        self.folder = os.path.join(suite.dir, "folder")
        self.socket = os.path.join(suite.dir, "w.sock")
        os.mkdir(self.folder)
        self.watcher = Watcher(suite, "watch", "--context", self.service.context, "--receipts",
                               self.folder, "--socket", self.socket, "--interval", 1,
                               "--deadline", 4)

    def receipt(self, name):
        path = os.path.join(self.folder, name + ".receipt")
        self.suite.code(self.service.onus("submit", "kv.put", name, "1", "--receipt", path), OK,
                        f"a receipt: {name}")
        return path

    def before(self):
        suite, service, watcher = self.suite, self.service, self.watcher
        suite.code(service.ready(), OK, "the service commits")
        self.receipt("first")
        watcher.start()
        watcher.waits_for("the watcher audits what four replicas hand over",
                          lambda: watcher.number("replicas_level") == 4 and
                          watcher.number("configuration") == 1 and
                          watcher.number("receipts_waiting") == 0)
        self.old = os.path.join(suite.dir, "old")
        shutil.copytree(service.ledger(0), self.old)

    def change(self):
        suite, service, watcher = self.suite, self.service, self.watcher
        credential = service.credential(4, 2)
        service.newcomer(4)
        service.change("replica 2 is replaced", "--replace-replica", f"2={credential}")
        service.entered(2, 0, 1, 3, 4)
        service.executes("it goes on with the other one")
        service.kill(2)
        self.second = self.receipt("second")
        watcher.waits_for("the watcher goes over, and asks the new replica",
                          lambda: watcher.number("configuration") == 2 and
                          watcher.number("replicas_level") == 4)
        watcher.waits_for("receipts of both configurations are held against the ledgers",
                          lambda: watcher.number("receipts") >= 2 and
                          watcher.number("receipts_waiting") == 0)
        exported = os.path.join(suite.dir, "all.receipts")
        suite.code(service.onus("receipt", "export", exported, timeout=120), OK, "an export")
        for title, content in (("an export with its links", read(exported)),
                               ("and a receipt with its own", framed(read(self.second)))):
            answer = ask(self.socket, content)
            suite.check(answer.startswith("kept ") and "invalid 0" in answer, f"the socket takes "
                        f"{title}", answer)

    def restart(self):
        """Again and again, while checkpoints of the new configuration pass."""
        suite, service, watcher = self.suite, self.service, self.watcher
        for turn in range(3):
            done = [service.onus("submit", "kv.put", "more", f"{turn}-{n}").code == OK
                    for n in range(INTERVAL)]
            suite.check(all(done), "life goes on")
            watcher.end(signal.SIGKILL)
            begun = len(watcher.events("status"))
            watcher.start()
            watcher.waits_for("after kill -9 it goes on in the new configuration",
                              lambda seen=begun: len(watcher.events("status")) > seen and
                              watcher.number("configuration") == 2 and
                              watcher.number("replicas_level") == 4 and
                              watcher.number("receipts_waiting") == 0)

    def outage(self):
        suite, service, watcher = self.suite, self.service, self.watcher
        begun, over = (len(watcher.events(kind)) for kind in ("outage", "outage-over"))
        service.kill(4)
        watcher.waits_for("the new replica is killed: an outage",
                          lambda: len(watcher.events("outage")) > begun)
        told = watcher.events("outage")[-1]
        suite.check(told["member"] == "bank-c" and told["replica"] == 2, "told by the name and "
                    "number that it has now", told)
        report = run(program("onus-audit"), "report", told.get("report", ""))
        suite.check(report.code == OK and "bank-c" in report.out, "and so does its report", report)
        service.start(4)
        watcher.waits_for("and its end is told",
                          lambda: len(watcher.events("outage-over")) > over)

    def fetch(self):
        suite, service = self.suite, self.service
        out = os.path.join(suite.dir, "fetched")
        fetched = run(program("onus-audit"), "fetch", "--context", service.context, "--out", out,
                      "--deadline", 30)
        suite.code(fetched, OK, "a fetch from the replicas of now")
        found = sorted(os.path.join(out, name) for name in os.listdir(out)
                       if name.startswith("replica-"))
        suite.check(len(found) == 4 and os.path.join(out, "replica-2") not in found,
                    "the new one's ledger has a directory of its own", found)
        suite.code(run(program("onus-audit"), "run", "--service", service.service(), "--ledger",
                       *found, "--receipts", self.folder), OK, "they are audited")
        suite.code(run(program("onus-audit"), "verify", "--service", service.service(),
                       os.path.join(out, "fetch.report")), OK, "and the report verifies")
        self.parts(found)
        short = run(program("onus-audit"), "run", "--service", service.service(), "--ledger",
                    self.old, "--receipts", self.folder, "-f", "json")
        suite.code(short, CANNOT_AUDIT, "with an old ledger receipts are judged by their links")
        suite.check("no ledger given reaches" in short.out and
                    "of configurations that no ledger" not in short.out, "and found good", short)

    def away(self):
        """An auditor who has heard nothing since the founding asks the replicas how to go on."""
        suite, service = self.suite, self.service
        context, out = (os.path.join(suite.dir, name) for name in ("away", "away-fetched"))
        shutil.copytree(service.context, context)
        os.remove(os.path.join(context, "chain"))
        fetched = self.ask_for(out, context)
        suite.code(fetched, OK, "a fetch of one who knows the founding configuration alone")
        found = [name for name in os.listdir(out) if name.startswith("replica-")]
        suite.check(len(found) == 4 and "replica-2" not in found,
                    "it asks the replicas of now", found)
        chain = os.path.join(context, "chain")
        suite.check(read(chain) == read(os.path.join(service.context, "chain")),
                    "and the context knows them from now on")

    def ask_for(self, out, context, *options):
        return run(program("onus-audit"), "fetch", "--context", context, "--out", out,
                   "--deadline", 30, "-o", "json", *options)

    def beginning(self):
        """Ledgers that begin behind a checkpoint of the new configuration."""
        suite, service = self.suite, self.service
        out = os.path.join(suite.dir, "beginning")
        fetched = self.ask_for(out, service.context, "--checkpoint")
        suite.code(fetched, OK, "a fetch from a checkpoint")
        number = int(fetched.json()["checkpoint"]) if fetched.code == OK else 0
        suite.check(number >= self.boundary, "it is one of the new configuration", number)
        ledgers = sorted(os.path.join(out, name) for name in os.listdir(out)
                         if name.startswith("replica-"))
        audited = run(program("onus-audit"), "run", "--service", service.service(), "--ledger",
                      *ledgers, "--state", os.path.join(out, "state"), "--from", number)
        suite.code(audited, OK, "what lies behind it audits clean")

    def parts(self, ledgers):
        """An audit in parts, which begin at checkpoints of both configurations."""
        suite, states = self.suite, os.path.join(self.suite.dir, "states")
        command = [program("onus-audit"), "run", "--service", self.service.service(), "--ledger",
                   *ledgers, "--state", states]
        suite.code(run(*command, "--every", 1), OK, "an audit keeps its states")
        kept = sorted(int(name[len("checkpoint-"):-len(".state")]) for name in os.listdir(states)
                      if name.endswith(".state"))
        boundary = [seq for seq in kept if seq % INTERVAL != 0]
        suite.check(len(kept) >= 3, "there are several", kept)
        self.boundary = min(boundary)
        for seq in {kept[-1], *boundary}:
            part = run(*command, "--from", seq, "-f", "json")
            suite.code(part, OK, f"a part begins at checkpoint {seq}")
        wrong = run(*command, "--from", kept[-1] + 1)
        suite.check(wrong.code == USAGE and "configuration 2" in wrong.err,
                    "what is none is told by the configuration's interval", wrong)

    def end(self):
        suite, watcher = self.suite, self.watcher
        watcher.waits_for("at rest all replicas are level, and nothing waits",
                          lambda: watcher.number("replicas_level") == 4 and
                          watcher.number("receipts_waiting") == 0)
        blamed = watcher.events("misbehaviour", "corruption", "cannot-audit", "bad-receipt")
        suite.check(not blamed, "nobody was blamed for any of it", blamed)
        suite.check(watcher.end() == OK, "SIGTERM ends it with exit 0",
                    read(watcher.out).decode()[-2000:])
        self.lie()
        self.service.kill(0, 1, 3, 4)

    def lie(self):
        """The new replica signs for ranges that lack an entry: it is convicted, and nobody else."""
        suite, service = self.suite, self.service
        out, context = os.path.join(suite.dir, "lied"), service.context
        service.kill(4)
        service.programs[4] = "onusd-lying"
        service.start(4)
        suite.check(wait_until(lambda: self.ask_for(out, context).code == MISBEHAVIOUR, 30),
                    "a range that is none is found, in configuration 2")
        fetched = self.ask_for(out, context)
        states = {replica["id"]: replica["state"] for replica in fetched.json()["replicas"]}
        suite.check(states == {0: "level", 1: "level", 2: "MALFORMED", 3: "level"},
                    "of the one that lies alone", states)
        evidence = [os.path.join(out, name) for name in os.listdir(out)
                    if name.endswith(".evidence")]
        suite.check(evidence != [], "there is evidence", os.listdir(out))
        for path in evidence:
            proven = run(program("onus-audit"), "verify", "--service", service.service(), path)
            suite.code(proven, OK, "it holds by the service id alone")
            named = [name for name in NAMES if name in proven.out]
            suite.check(named == ["bank-c"], "against the member of the replica that came", proven)
        watcher = self.watcher
        watcher.start()
        watcher.waits_for("a watcher finds it, too", lambda: watcher.events("misbehaviour"))
        suite.check(watcher.end() == MISBEHAVIOUR, "and ends with that")


def framed(content):
    return len(content).to_bytes(4, "big") + content


def watched(suite):
    scene = Watched(suite)
    scene.before()
    scene.change()
    scene.restart()
    scene.outage()
    scene.fetch()
    scene.away()
    scene.beginning()
    scene.end()


if __name__ == "__main__":
    main(watched)
