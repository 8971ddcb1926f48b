#!/usr/bin/env python3
"""Audits of long ledgers: in parts, on several threads, cut off by kill -9 and gone on with; of
ledgers that are cut short; and receipts that go from one client to another.

Each audit says what it checked and what not; the figures must be those of the ledger.
"""

import os
import random
import shutil
import signal
import subprocess
import time

import harness
from harness import CANNOT_AUDIT, CORRUPT, ERROR, INVALID, OK, USAGE, Sandbox, program, run

INTERVAL = 12  # batches from one checkpoint to the next
EVERY = 3  # the state of each so manyth is saved
PARTS = 6  # or so
SEED = 20261122


class Archive:
    """A true history, its receipts, and audits of it."""

    def __init__(self, suite):
        self.suite = suite
        self.sandbox = Sandbox(suite, options=("--checkpoint-interval", INTERVAL))
        self.dir = suite.dir

    def make(self):
        suite, sandbox = self.suite, self.sandbox.up()
        suite.code(sandbox.ready(), OK, "the service commits")
        bench = sandbox.onus("bench", "--clients", 4, "--duration", 4, timeout=120)
        suite.code(bench, OK, "a history of many batches")
        harness.wait_until(lambda: False, 0.5)  # evidence for all of it
        self.service = sandbox.service()
        sandbox.down()
        self.receipts = os.path.join(sandbox.context, "receipts")
        self.ledger = sandbox.ledger(0)
        return self

    def command(self, *options, ledgers=None, receipts=True):
        words = [program("onus-audit"), "run", "--service", self.service, "-f", "json", "--evidence",
                 os.path.join(self.dir, "evidence"), "--ledger", *(ledgers or [self.ledger])]
        words += ["--receipts", self.receipts] if receipts else []
        return words + [str(option) for option in options]

    def audit(self, *options, **more):
        return run(*self.command(*options, **more), timeout=300)

    def state(self, name):
        path = os.path.join(self.dir, name)
        os.makedirs(path, exist_ok=True)
        return path


def report_of(result):
    try:
        report = result.json()
        return report["coverage"]["checked"], report["coverage"]["not_checked"], report
    except (ValueError, KeyError):
        return {}, {}, {}


def span(first, last):
    return {"first": str(first), "last": str(last)}


# ---- tests ---------------------------------------------------------------------------------------

archive = None
whole = None  # what an audit of everything says


def everything(suite):
    global archive, whole
    archive = Archive(suite).make()
    result = archive.audit()
    whole, left, report = report_of(result)
    suite.code(result, OK, "an audit of the whole")
    suite.check(whole.get("start") == {"from": "genesis"} and whole.get("resumed_at") == "0",
                "it began at genesis", result)
    receipts = report["coverage"]["receipts"]
    last = int(whole["batches"]["last"])
    suite.check(last > 12 * INTERVAL, f"the ledger is long: {last} batches", result)
    suite.check(receipts["valid"] == receipts["reconciled"] == whole["transactions"]["last"],
                "the receipts of all transactions are met", result)
    suite.check(left["batches_before"] is None and left["ended_early"] is False and
                left["receipts_without_ledger"] is None and left["receipts_before"] == "0",
                "nothing is left unchecked", result)
    text = run(*[word for word in archive.command() if word not in ("-f", "json")], timeout=300)
    suite.check(f"checked     batches 1..{last}, transactions 1..{receipts['valid']}: signatures, "
                "evidence, roots, outcomes" in text.out and text.code == OK,
                "the same in words", text)


def threads(suite):
    for jobs in (1, 2, 5):
        result = archive.audit("--jobs", jobs)
        checked, _, report = report_of(result)
        suite.check(result.code == OK and checked == whole and report["findings"] == [],
                    f"--jobs {jobs} comes to the same", result)


def parts(suite):
    """As many machines would: one makes the states, each does its part."""
    states = archive.state("states")
    first = archive.audit("--state", states, "--every", EVERY, "--execute-only", receipts=False)
    checked, _, _ = report_of(first)
    suite.check(first.code == OK and checked["signatures"] is False and
                checked["batches"] == whole["batches"],
                "execution alone makes the states, and says that no signature was checked", first)
    last = int(whole["batches"]["last"])
    step = EVERY * INTERVAL
    borders = [0] + list(range(step, last - 2 * INTERVAL, step * max(1, last // step // PARTS)))
    suite.check(len(borders) >= 4, f"{len(borders)} parts", first)
    met = 0
    for nth, border in enumerate(borders):
        end = borders[nth + 1] if nth + 1 < len(borders) else None
        options = (["--from", border, "--state", archive.state(f"part-{nth}")] if border else []) + \
            (["--to", end] if end else [])
        if border:
            for name in os.listdir(states):
                if name.endswith(".state"):
                    shutil.copy(os.path.join(states, name), archive.state(f"part-{nth}"))
        result = archive.audit(*options)
        checked, left, report = report_of(result)
        begun = border - INTERVAL if border else 0
        suite.check(result.code == OK and
                    checked["batches"] == span(begun + 1, end or last) and
                    (not border or checked["start"]["checkpoint"] == str(begun)) and
                    left["ended_early"] is (end is not None),
                    f"the part from {border} to {end or 'the end'}", result)
        if border:
            suite.check(len(checked["start"]["signers"]) == 3,
                        "its checkpoint is signed by a quorum, which it names", result)
        if nth == 1:
            before = archive.audit("--to", begun, receipts=False)
            other, _, _ = report_of(before)
            suite.check(other["last_checkpoint"] == str(begun) and
                        other["last_checkpoint_digest"] == checked["start"]["digest"],
                        "and is what the audit of all before it ends with", before)
        met += int(report["coverage"]["receipts"]["reconciled"]) if nth == 0 else 0
    beyond = archive.audit("--to", borders[1])
    _, left, _ = report_of(beyond)
    suite.check(int(left["receipts_beyond"]) + met == int(whole["transactions"]["last"]),
                "receipts for what follows are counted, and not called unchecked ledgers", beyond)


def wrong_parts(suite):
    states = archive.state("states")
    suite.says(archive.audit("--from", EVERY * INTERVAL), USAGE, "--from without --state", "--state")
    suite.says(archive.audit("--from", 20, "--state", states), USAGE,
               "--from where no checkpoint is", str(INTERVAL))
    empty = archive.state("empty")
    suite.says(archive.audit("--from", EVERY * INTERVAL, "--state", empty), CANNOT_AUDIT,
               "--from without a saved state", "no saved state")
    spoiled = archive.state("spoiled")
    names = sorted(name for name in os.listdir(states) if name.endswith(".state"))
    rng = random.Random(SEED)
    wrong = []
    with open(os.path.join(states, names[0]), "rb") as file:
        original = file.read()
    number = int(names[0].split("-")[1].split(".")[0])
    for _ in range(20):
        content = bytearray(original)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        with open(os.path.join(spoiled, names[0]), "wb") as file:
            file.write(content)
        result = archive.audit("--from", number, "--state", spoiled, receipts=False)
        if result.code not in (INVALID, CANNOT_AUDIT) or "MISBEHAVIOUR" in result.out:
            wrong.append(str(result))
    suite.check(not wrong, "a saved state with a flipped bit is refused, and blames nobody",
                "\n".join(wrong[:3]))


def killed(suite):
    """Whenever it dies, the next run goes on from what was noted, and comes to the same."""
    states = archive.state("killed")
    rng = random.Random(SEED)
    for attempt in range(6):
        process = subprocess.Popen(archive.command("--state", states, "--every", 1, "--jobs", 2),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        suite.pids.add(process.pid)
        harness.wait_until(lambda: process.poll() is not None or
                           any(name.endswith(".progress") for name in os.listdir(states)), 60, 0.01)
        time.sleep(rng.random() * 0.6)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if attempt in (2, 5):
            progress = [name for name in os.listdir(states) if name.endswith(".progress")]
            suite.check(len(progress) == 1, "how far it was is noted")
    result = archive.audit("--state", states)
    checked, _, report = report_of(result)
    resumed = int(checked.get("resumed_at", 0))
    same = dict(checked, resumed_at="0")
    suite.check(result.code == OK and resumed > 0, f"it goes on from batch {resumed}", result)
    suite.check(same == whole and "anew" not in result.err,
                "and what it checked is the whole, as if it had never died", result)
    suite.check(report["coverage"]["receipts"]["reconciled"] == whole["transactions"]["last"],
                "receipts for what was replayed before are met, too", result)
    other = archive.audit("--state", states, ledgers=[archive.sandbox.ledger(1)])
    suite.check(other.code == OK and "anew" in other.err, "other ledgers: it starts anew, and says so",
                other)
    with open(os.path.join(states, sorted(n for n in os.listdir(states)
                                          if n.endswith(".progress"))[0]), "r+b") as file:
        file.truncate(50)
    damaged = archive.audit("--state", states)
    checked, _, _ = report_of(damaged)
    suite.check(damaged.code == OK and "anew" in damaged.err and checked == whole,
                "a damaged note: it starts anew, and says so", damaged)


def cut_short(suite):
    ledger = os.path.join(suite.dir, "cut")
    shutil.copytree(archive.ledger, ledger)
    name = sorted(os.listdir(ledger))[-1]
    path = os.path.join(ledger, name)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) * 2 // 3)
    result = archive.audit(ledgers=[ledger])
    checked, left, report = report_of(result)
    last = int(checked["batches"]["last"])
    missing = left["receipts_without_ledger"]
    suite.check(result.code == CORRUPT and 0 < last < int(whole["batches"]["last"]),
                "a ledger that was cut: damage, with file and offset",
                result)
    suite.check(any(name in notice["text"] and "offset" in notice["text"]
                    for notice in report["notices"]), "which names file and offset", result)
    suite.check(missing == span(int(checked["transactions"]["last"]) + 1,
                                whole["transactions"]["last"]),
                "exactly the receipts behind it are said to be unchecked", result)
    both = archive.audit(ledgers=[ledger, archive.sandbox.ledger(1)])
    checked, left, _ = report_of(both)
    suite.check(both.code == CORRUPT and checked["batches"] == whole["batches"] and
                left["receipts_without_ledger"] is None and
                checked["ledgers"][0]["state"] == "left" and
                checked["ledgers"][0]["last_batch"] == str(last),
                "with a whole ledger beside it everything is checked, and it is said how far each "
                "was followed", both)


def shared(suite):
    """Receipts go to another client, and to the auditor, as one file."""
    sandbox = archive.sandbox
    other = os.path.join(suite.dir, "other")
    os.mkdir(other)
    shutil.copy(os.path.join(sandbox.context, "genesis.onus"), other)
    exported = os.path.join(suite.dir, "all.receipts")
    result = sandbox.onus("-o", "json", "receipt", "export", exported)
    total = whole["transactions"]["last"]
    suite.check(result.code == OK and result.json()["receipts"] == total,
                "onus receipt export: all receipts", result)

    def take(*files):
        return run(program("onus"), "-C", other, "-o", "json", "receipt", "import", *files,
                   timeout=120)

    result = take(exported)
    suite.check(result.code == OK and result.json()["receipts"] == total,
                "onus receipt import: all of them, verified", result)
    result = take(exported)
    suite.check(result.code == OK and result.json()["receipts"] == "0" and
                result.json()["held_already"] != "0", "a second time nothing is new", result)
    result = run(program("onus"), "-C", other, "receipt", "verify", os.path.join(other, "receipts"))
    suite.code(result, OK, "they verify from there")
    one = sorted(sandbox.receipts())[0].split(".")[0]
    few = os.path.join(suite.dir, "few.receipts")
    result = sandbox.onus("-o", "json", "receipt", "export", few, one)
    suite.check(result.code == OK and result.json()["requests"] == "1", "one request alone", result)
    result = sandbox.onus("receipt", "export", few + "-none", "ab" * 32)
    suite.says(result, ERROR, "a request that is not held", "ab" * 32)
    suite.check(not os.path.exists(few + "-none"), "makes no file")
    spoiled_imports(suite, exported, few, take)
    files = os.path.join(suite.dir, "files")
    os.mkdir(files)
    shutil.copy(exported, files)
    result = run(*archive.command(receipts=False), "--receipts", files, timeout=300)
    _, _, report = report_of(result)
    suite.check(result.code == OK and report["coverage"]["receipts"]["reconciled"] == total,
                "the auditor takes the file as it takes the client's store", result)


def spoiled_imports(suite, exported, few, take):
    rng = random.Random(SEED)
    with open(few, "rb") as file:
        original = file.read()
    wrong = []
    for position in rng.sample(range(len(original)), min(400, len(original))):
        content = bytearray(original)
        content[position] ^= 1 << rng.randrange(8)
        path = os.path.join(suite.dir, "spoiled.receipts")
        with open(path, "wb") as file:
            file.write(content)
        fresh = os.path.join(suite.dir, "fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        os.mkdir(fresh)
        shutil.copy(os.path.join(archive.sandbox.context, "genesis.onus"), fresh)
        result = run(program("onus"), "-C", fresh, "receipt", "import", path)
        told = (result.out + result.err).strip()
        if result.code != INVALID or not told:
            wrong.append(f"{position}: {result}")
    suite.check(not wrong, "a flipped bit: exit 5, with what does not hold", "\n".join(wrong[:3]))
    cut = os.path.join(suite.dir, "half.receipts")
    with open(exported, "rb") as file:
        content = file.read()
    with open(cut, "wb") as file:
        file.write(content[:len(content) // 2])
    result = take(cut)
    suite.check(result.code == INVALID and "cut short" in result.err,
                "a file cut in half: exit 5, and says so", result)


if __name__ == "__main__":
    harness.main(everything, threads, parts, wrong_parts, killed, cut_short, shared)
