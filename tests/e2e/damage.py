#!/usr/bin/env python3
"""Disks that rot, files that are cut, directories that are wiped or restored from an old copy.

Damage is never guilt: the auditor names file and offset (exit 11). A replica that lost what it
signed does not vote again, and says why.
"""

import os
import random
import re
import shutil

import harness
from harness import CORRUPT, OK, UNREACHABLE, Sandbox, program, run

FLIPS = 24
SEED = 20261122


def segments(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".seg"))


def flip(path, offset, bit=0):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def audit(sandbox, folder):
    return run(program("onus-audit"), "run", "--service", sandbox.service(), "--ledger", folder,
               "--receipts", os.path.join(sandbox.context, "receipts"), timeout=60)


def audited_damage(suite, sandbox):
    """Copies of a ledger with one thing wrong each."""
    rng = random.Random(SEED)
    original = sandbox.ledger(1)
    copy = os.path.join(suite.dir, "ledger-copy")
    name = segments(original)[0]
    size = os.path.getsize(os.path.join(original, name))
    suite.code(audit(sandbox, original), OK, "the ledger is whole to begin with")

    def spoiled(spoil):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy)
        spoil(os.path.join(copy, name))
        return audit(sandbox, copy)

    def tells(result):
        told = result.out + result.err
        return result.code == CORRUPT and name in told and re.search(r"offset \d+", told)

    wrong = []
    offsets = [0, 8, 20, 50, 56, 64, 68, 72] + [rng.randrange(80, size) for _ in range(FLIPS)]
    for offset in offsets:
        result = spoiled(lambda path, at=offset: flip(path, at, rng.randrange(8)))
        if not tells(result):
            wrong.append(f"offset {offset}\n{result}")
    suite.check(not wrong, f"a flipped byte at {len(offsets)} places: exit 11, file and offset",
                "\n".join(wrong))
    wrong = []
    for length in [10, 63, 70] + [rng.randrange(100, size) for _ in range(6)] + [size - 1]:
        result = spoiled(lambda path, to=length: os.truncate(path, to))
        if not tells(result):
            wrong.append(f"cut to {length}\n{result}")
    suite.check(not wrong, "a truncated segment: exit 11, file and offset", "\n".join(wrong))


def replica_finds_damage(suite, sandbox):
    """A replica does not run on a damaged ledger, journal or state."""
    data = os.path.join(sandbox.home(2), "data")
    kept = os.path.join(suite.dir, "kept")
    shutil.copytree(data, kept)
    ledger = os.path.join("ledger", segments(sandbox.ledger(2))[0])
    for title, name in (("ledger", ledger), ("journal", "journal")):
        path = os.path.join(data, name)
        flip(path, 80)
        result = run(program("onusd"), "--config", sandbox.config(2), timeout=20)
        suite.says(result, CORRUPT, f"a replica does not run on a damaged {title}",
                   os.path.basename(name))
        shutil.rmtree(data)
        shutil.copytree(kept, data)


def torn_tail(suite, sandbox):
    """A tail that a crash tore is cut off, and is nothing to complain of."""
    name = segments(sandbox.ledger(3))[-1]
    with open(os.path.join(sandbox.ledger(3), name), "ab") as file:
        file.write(b"\x00\x00\x01\x00\x00\x00\x00\x04torn")
    sandbox.start(0, 1, 2, 3)
    suite.code(sandbox.ready(), OK, "the service starts over a torn tail")
    suite.check(harness.wait_until(lambda: sandbox.voting(3)), "and its replica votes",
                sandbox.status()[0])


def mute(sandbox, replica):
    return sandbox.replica_status(replica).get("voting") is False


def refuses_to_vote(suite, sandbox, replica, title):
    suite.check(harness.wait_until(lambda: mute(sandbox, replica)), f"{title}: does not vote",
                sandbox.status()[0])
    item = sandbox.replica_status(replica)
    suite.check(bool(item.get("error")), f"{title}: says why", item)
    result = sandbox.onus("status")
    suite.code(result, UNREACHABLE, f"{title}: onus status counts it as degraded")
    log = sandbox.log_text(replica)
    suite.check("will not vote" in log and "new key" in log,
                f"{title}: its log says so, and what it takes", log[-1500:])
    suite.code(sandbox.onus("submit", "kv.put", "after", title), OK, f"{title}: the others go on")


def restored_copy(suite, sandbox):
    """A directory from an old copy: a peer's ledger shows what the replica has forgotten."""
    data = os.path.join(sandbox.home(3), "data")
    old = os.path.join(suite.dir, "old")
    sandbox.kill(3)
    shutil.copytree(data, old)
    sandbox.start(3)
    suite.check(harness.wait_until(lambda: sandbox.voting(3)), "before the copy it votes")
    sandbox.kill(2)  # so that replica 3's votes are needed
    for number in range(8):
        suite.code(sandbox.onus("submit", "kv.put", "copy", number), OK, "it votes after the copy")
    sandbox.kill(3)
    shutil.rmtree(data)
    shutil.copytree(old, data)
    sandbox.start(2)
    suite.code(sandbox.ready(), OK, "the others go on")
    sandbox.start(3)
    refuses_to_vote(suite, sandbox, 3, "restored from an old copy")
    sandbox.kill(3)
    sandbox.start(3)
    refuses_to_vote(suite, sandbox, 3, "restored and restarted")


def wiped(suite, sandbox):
    """A directory that was lost and made anew."""
    sandbox.kill(3)
    shutil.rmtree(os.path.join(sandbox.home(3), "data"))
    result = run(program("onusd"), "--config", sandbox.config(3), timeout=20)
    suite.says(result, harness.ERROR, "a replica does not start without its data", "--init")
    init = run(program("onusd"), "--config", sandbox.config(3), "--init", timeout=20)
    suite.code(init, OK, "it can be told to begin anew")
    sandbox.start(3)
    refuses_to_vote(suite, sandbox, 3, "wiped and begun anew")


def journal_lost(suite, sandbox):
    sandbox.kill(2)
    os.remove(os.path.join(sandbox.home(2), "data", "journal"))
    sandbox.start(2)
    suite.check(harness.wait_until(lambda: mute(sandbox, 2)), "no journal, no vote",
                sandbox.status()[0])


def damage(suite):
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    load = sandbox.load([["kv.put", f"k{n}", "v" * 50] for n in range(4000)], "--bundle", 16)
    suite.code(harness.finish(load, 60), OK, "some load")
    sandbox.down()
    audited_damage(suite, sandbox)
    replica_finds_damage(suite, sandbox)
    torn_tail(suite, sandbox)
    restored_copy(suite, sandbox)
    wiped(suite, sandbox)
    journal_lost(suite, sandbox)
    sandbox.down()
    suite.code(audit(sandbox, sandbox.ledger(1)), OK, "the others' ledgers are clean")


if __name__ == "__main__":
    harness.main(damage)
