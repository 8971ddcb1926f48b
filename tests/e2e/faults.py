#!/usr/bin/env python3
"""Replicas that are killed, that sleep, that never come back: the primary among them.

All of it under load. The service goes on whenever a quorum is there, within two view timeouts when
it was the primary that went; whoever comes back follows, and its vote counts; and in the end no
receipt is lost and the auditor finds no fault with anybody.
"""

import os
import random
import time

import harness
from harness import OK, Load, Meter, Sandbox, finish

SEED = 20261122
LONG = bool(os.environ.get("ONUS_E2E_LONG"))
KILLS = 60 if LONG else 4
LOAD = ("--clients", 8, "--bundle", 4)
SLEEP_S = 5
BENCH_S = 10
SETTLE_S = 30
VIEW_TIMEOUT_S = harness.limit("VIEW_TIMEOUT_MS") / 1000


def vote_counts(suite, sandbox, replica, title):
    """Take another replica away, so that nothing commits without this one's vote."""
    primary = sandbox.primary()
    other = next(r for r in range(4) if r not in (replica, primary))
    sandbox.kill(other)
    sandbox.commits(f"{title}: its vote counts")
    sandbox.start(other)
    suite.check(sandbox.follows(*range(4)), f"{title}: all four follow", sandbox.status()[0])


def killed_at_random(suite, sandbox):
    """kill -9 of one, of several, of all; each time what is receipted stays."""
    rng = random.Random(SEED)
    held = set()
    lost = set()
    for _ in range(KILLS):
        victims = rng.sample(range(4), rng.choice((1, 1, 2, 3, 4)))
        sandbox.kill(*victims)
        time.sleep(rng.random())
        now = sandbox.receipts()
        lost |= held - now
        held = now
        for victim in rng.sample(victims, len(victims)):
            sandbox.start(victim)
            time.sleep(rng.random() * 0.2)
        time.sleep(rng.random())
        killed = f"replicas {sorted(victims)} are killed"
        took = sandbox.commits(f"{killed}: the service is back")
        print(f"# after {took:.1f} s")
        suite.check(sandbox.follows(*range(4)), f"{killed}: all come along", sandbox.status()[0])
    suite.check(not lost, "no receipt is lost", f"{len(lost)} are missing")


def backup_sleeps(suite, sandbox):
    backup = (sandbox.primary() + 1) % 4
    with Meter(sandbox) as meter:
        harness.wait_until(lambda: meter.rate_of_last(backup, 0.5) > 0)  # after what was before
        time.sleep(1)
        awake = meter.rate_of_last(backup, 1)
        sandbox.pause(backup)
        started = time.monotonic()
        time.sleep(SLEEP_S)
        asleep = meter.rate_of_last((backup + 1) % 4, SLEEP_S)
        stood = meter.rate(backup, started + 0.5, time.monotonic())
        sandbox.resume(backup)
    print(f"# {awake:.0f} B/s with four, {asleep:.0f} with three")
    suite.check(asleep > awake / 2 and stood == 0, f"a backup sleeps for {SLEEP_S} s: the load "
                "goes on", f"{awake:.0f} B/s before, {asleep:.0f} meanwhile, {stood:.0f} asleep")
    suite.check(sandbox.follows(backup), "it wakes, and follows", sandbox.status()[0])
    vote_counts(suite, sandbox, backup, "a backup that slept")


def primary_sleeps(suite, sandbox):
    old = sandbox.primary()
    sandbox.pause(old)
    sandbox.commits("the primary sleeps: the service goes on without it")
    time.sleep(2 * VIEW_TIMEOUT_S)
    sandbox.resume(old)
    suite.check(sandbox.follows(old), "it wakes, and follows", sandbox.status()[0])
    suite.check(sandbox.primary() != old, "and is the primary no longer", sandbox.status()[0])
    vote_counts(suite, sandbox, old, "a primary that slept")


def primary_killed(suite, sandbox):
    """For good, halfway through a load."""
    load = sandbox.background("bench", "--duration", BENCH_S, *LOAD)
    held = sandbox.receipts()
    old = sandbox.primary()
    witness = (old + 2) % 4  # not the next primary either
    with Meter(sandbox) as meter:
        time.sleep(BENCH_S / 2)
        before = meter.rate_of_last(witness, BENCH_S / 4)
        sandbox.kill(old)
        killed = time.monotonic()

        def back():
            return meter.rate_of_last(witness, 0.5) > before / 2

        time.sleep(0.6)  # the last moments before do not count
        harness.wait_until(back, SETTLE_S)
        took = time.monotonic() - killed
        time.sleep(3)
        after = meter.rate_of_last(witness, 3)
    print(f"# {before:.0f} B/s before, back after {took:.2f} s, then {after:.0f} B/s")
    suite.check(took < 2 * VIEW_TIMEOUT_S, "the primary is killed for good: the load is back "
                "within two view timeouts", f"{took:.2f} s; {2 * VIEW_TIMEOUT_S:.2f} s are allowed")
    suite.check(after > before / 2, "with the throughput of before",
                f"{before:.0f} B/s before, {after:.0f} after")
    result = finish(load, BENCH_S + 90)
    suite.code(result, OK, "every request of the bench has its receipt")
    print("# " + result.out.strip().replace("\n", "\n# "))
    suite.check(held <= sandbox.receipts(), "no receipt is lost")


def chapter(tell, suite, sandbox):
    started = time.monotonic()
    tell(suite, sandbox)
    print(f"# {tell.__name__}: {time.monotonic() - started:.1f} s")


def faults(suite):
    sandbox = Sandbox(suite).up()
    if not suite.code(sandbox.ready(), OK, "the service commits"):
        return
    load = Load(sandbox, *LOAD)
    suite.check(load.begun(), "a load is under way")
    for tell in (killed_at_random, backup_sleeps, primary_sleeps):
        chapter(tell, suite, sandbox)
    load.finish("all of it under load, every request of which has its receipt")
    chapter(primary_killed, suite, sandbox)
    sandbox.down()
    suite.code(sandbox.onus("receipt", "verify", os.path.join(sandbox.context, "receipts"),
                            timeout=120), OK, "every receipt verifies")
    suite.code(sandbox.audit(), OK, "and the audit is clean")


if __name__ == "__main__":
    harness.main(faults)
