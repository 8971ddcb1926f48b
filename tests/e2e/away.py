#!/usr/bin/env python3
"""A replica that was away for 100,000 transactions comes back while the others are at work.

It catches up from its peers' ledgers, and votes; and the others keep at least four fifths of their
throughput meanwhile, compared with just before, in the same run. In earnest each replica has a
machine and a disk of its own. Here they share them: so the one that comes back runs at the lowest
priority, and files are in memory where there is such a place. What is left is what the others do
for it. Whatever else runs here is measured too, so one of three attempts has to show it.
"""

import os
import statistics
import time

import harness
from harness import OK, Load, Meter, Sandbox, finish

LONG = bool(os.environ.get("ONUS_E2E_LONG"))
TRANSACTIONS = 1_000_000 if LONG else 100_000
BUNDLE = 128
LOAD = ("--clients", 4, "--bundle", 4)
BEFORE_S = 4
WINDOW_S = 0.25
NEARLY = 0.98  # of the others' ledger: then it is no longer catching up
SHARE_KEPT = 0.8
ATTEMPTS = 3
MEMORY = "/dev/shm"
SETTLE_S = 300 if LONG else 60


def missed(suite, sandbox, gone):
    sandbox.kill(gone)
    lines = [["kv.put", f"key-{n % 20000}", f"value-{n}"] for n in range(TRANSACTIONS)]
    suite.code(finish(sandbox.load(lines, "--bundle", BUNDLE), 300), OK,
               f"a replica misses {TRANSACTIONS} transactions")


def usual_rate(meter, replica, start, end):
    """The median over short windows: a moment of something else does not count."""
    count = max(1, int((end - start) / WINDOW_S))
    return statistics.median(meter.rate(replica, start + n * WINDOW_S, start + (n + 1) * WINDOW_S)
                             for n in range(count))


def comes_back(suite, sandbox, gone):
    """Returns: the share of their throughput that the others keep meanwhile."""
    witness = (gone + 1) % 4
    with Meter(sandbox) as meter:
        time.sleep(BEFORE_S)
        started = time.monotonic()
        sandbox.start(gone)
        os.setpriority(os.PRIO_PROCESS, sandbox.pids()[gone], 19)
        # Nobody is asked for a status meanwhile, which would cost time too.
        harness.wait_until(lambda: meter.size(gone) > NEARLY * meter.size(witness), SETTLE_S)
        ended = time.monotonic()
    suite.check(sandbox.follows(gone), "it comes back, and catches up under load",
                sandbox.status()[0])
    before = usual_rate(meter, witness, started - BEFORE_S, started)
    during = usual_rate(meter, witness, started, ended)
    share = during / before if before else 0
    print(f"# {ended - started:.1f} s; the others: {before:.0f} B/s before, {during:.0f} meanwhile: "
          f"{share:.0%}")
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
        shares.append(comes_back(suite, sandbox, gone))
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
