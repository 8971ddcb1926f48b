#!/usr/bin/env python3
"""A replica that was away for 100,000 transactions comes back while the others are at work.

It catches up from its peers' ledgers, and votes; and the others keep at least four fifths of the
throughput that they have with four replicas in service. In earnest each replica has a machine and a
disk of its own; here the one that comes back gets a processor of its own, the others with their
client share another, and files are in memory where there is such a place. It sleeps every other
moment while it catches up, so that there is time enough to measure; what the others do with it
asleep, when they have nothing to do for it at all, is told beside it.
"""

import os
import statistics
import time

import harness
from harness import OK, Load, Meter, Sandbox, finish

LONG = bool(os.environ.get("ONUS_E2E_LONG"))
TRANSACTIONS = 1_000_000 if LONG else 100_000
BUNDLE = 128
LOAD = ("--clients", 4, "--bundle", 8)
TURN_S = 0.1  # it works for so long, and sleeps for so long
TURNS_MAX = 16
LEVEL_S = 4  # with all four in service, of which the second half counts
NEARLY = 0.98  # of the others' ledger: then it is no longer catching up
SHARE_KEPT = 0.8
ATTEMPTS = 3
SETTLE_S = 300 if LONG else 60
MEMORY = "/dev/shm"


def missed(suite, sandbox, gone):
    sandbox.kill(gone)
    lines = [["kv.put", f"key-{n % 20000}", f"value-{n}"] for n in range(TRANSACTIONS)]
    suite.code(finish(sandbox.load(lines, "--bundle", BUNDLE), 300), OK,
               f"a replica misses {TRANSACTIONS} transactions")


def keep_to(processor, *pids):
    """Every thread of these processes runs there; those still to come inherit it."""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {processor})


def keep_apart(sandbox, gone, load):
    """The one that comes back has a processor of its own, if there are two."""
    processors = sorted(os.sched_getaffinity(0))
    pids = sandbox.pids()
    keep_to(processors[0], load.process.pid, *(pids[r] for r in pids if r != gone and pids[r]))
    keep_to(processors[-1], pids[gone])


def comes_back(suite, sandbox, gone, load):
    """Returns: the share of their throughput that the others keep meanwhile."""
    witness = (gone + 1) % 4
    rates = {"asleep": [], "at work": []}
    with Meter(sandbox) as meter:
        sandbox.start(gone)
        keep_apart(sandbox, gone, load)
        harness.wait_until(lambda: meter.size(gone) > 1 << 20)
        while len(rates["asleep"]) < TURNS_MAX and meter.size(gone) < NEARLY * meter.size(witness):
            for state, change in (("asleep", sandbox.pause), ("at work", sandbox.resume)):
                change(gone)
                time.sleep(TURN_S)
                rates[state].append(meter.rate_of_last(witness, TURN_S))
        harness.wait_until(lambda: meter.size(gone) >= NEARLY * meter.size(witness), SETTLE_S)
        time.sleep(LEVEL_S)
        level = meter.rate_of_last(witness, LEVEL_S / 2)
    suite.check(sandbox.follows(gone), "it comes back, and catches up under load",
                sandbox.status()[0])
    asleep, work = (statistics.mean(rates[state] or [0]) for state in ("asleep", "at work"))
    share = work / level if level else 0
    print(f"# {len(rates['asleep'])} turns; the others: {work:.0f} B/s while it catches up, "
          f"{level:.0f} when it is level: {share:.0%}; {asleep:.0f} while it sleeps")
    return share


def away(suite):
    sandbox = Sandbox(suite).up()
    if not suite.code(sandbox.ready(), OK, "the service commits"):
        return
    gone = (sandbox.primary() + 3) % 4
    shares = []
    while len(shares) < ATTEMPTS and max(shares, default=0) < SHARE_KEPT:
        missed(suite, sandbox, gone)
        load = Load(sandbox, *LOAD)
        suite.check(load.begun(), "a load is under way")
        shares.append(comes_back(suite, sandbox, gone, load))
        load.finish("all of it under load, every request of which has its receipt")
    suite.check(max(shares) >= SHARE_KEPT, f"the others keep {SHARE_KEPT:.0%} of their throughput",
                ", ".join(f"{share:.0%}" for share in shares))
    other = (gone + 1) % 4 if (gone + 1) % 4 != sandbox.primary() else (gone + 2) % 4
    sandbox.kill(other)
    sandbox.commits("its vote counts")
    sandbox.start(other)
    suite.check(sandbox.follows(*range(4)), "all four follow", sandbox.status()[0])
    sandbox.down()
    suite.code(sandbox.audit(), OK, "and the audit is clean")


if __name__ == "__main__":
    harness.main(away, place=MEMORY if os.access(MEMORY, os.W_OK) else None)
