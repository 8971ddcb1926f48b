#!/usr/bin/env python3
"""Power cuts and lost replicas: what was receipted stays, and the load gets through.

All four replicas are killed under load and come back; the client is killed under load and comes
back; replicas stop one by one and return. In the end the auditor finds ledgers and receipts whole.
"""

import os
import time

import harness
from harness import OK, UNREACHABLE, Sandbox, finish, program

LINES = 80000
BUNDLE = 8
DEPOSITS = 20000


def all_killed_under_load(suite, sandbox):
    load = sandbox.load([["kv.put", f"key-{n}", f"value-{n}"] for n in range(LINES)],
                        "--bundle", BUNDLE)
    held = set()
    for round_number in (1, 2):
        harness.wait_until(lambda known=held: len(sandbox.receipts()) > len(known) + 2000, 30)
        suite.check(load.poll() is None, f"round {round_number}: the load is under way")
        sandbox.kill(*range(4))
        held = sandbox.receipts()
        suite.check(len(held) > 0, f"round {round_number}: receipts were handed out before")
        print(f"# {len(held)} transactions of {LINES} have receipts")
        time.sleep(0.5)
        sandbox.start(*range(4))
    suite.code(finish(load, 120), OK, "the load finishes after two kills of all replicas")
    now = sandbox.receipts()
    suite.check(held <= now, "no receipt was lost", f"{len(held - now)} are missing")
    suite.check(len(now) > LINES, "every line has a receipt", f"{len(now)} of {LINES}")
    suite.code(sandbox.onus("receipt", "verify", os.path.join(sandbox.context, "receipts"),
                            timeout=120), OK, "every receipt verifies")
    suite.code(sandbox.audit(), OK, "and all reconcile with the ledgers")


def client_killed_under_load(suite, sandbox):
    """One execution for each line, whatever becomes of the client."""
    suite.code(sandbox.onus("submit", "bank.create_account", "saver", "0", "0"), OK,
               "an account is created")
    lines = [["bank.deposit_checking", "saver", "1"] for _ in range(DEPOSITS)]
    load = sandbox.load(lines, "--bundle", 1)
    before = len(sandbox.receipts())
    harness.wait_until(lambda: len(sandbox.receipts()) > before + 500, 20)
    suite.check(load.poll() is None, "the client is in the middle of its load")
    load.kill()
    load.wait()
    again = harness.run(program("onus"), "-C", sandbox.context, "load", load.args[4], "--bundle", 1,
                        timeout=120)
    suite.code(again, OK, "the same load, started again, finishes")
    balance = sandbox.onus("-o", "json", "submit", "bank.balance", "saver")
    suite.check(balance.code == OK and f'"{DEPOSITS}"' in balance.out,
                "and every line was executed once", balance)


def replicas_lost(suite, sandbox):
    put = ("submit", "kv.put", "quorum")
    sandbox.kill(3)
    suite.code(sandbox.onus(*put, "three"), OK, "three of four go on")
    result, _ = sandbox.status()
    suite.code(result, UNREACHABLE, "onus status says that one is down")
    sandbox.kill(2)
    suite.code(sandbox.onus("--timeout", "3", *put, "two"), UNREACHABLE,
               "two of four commit nothing")
    result, _ = sandbox.status()
    suite.code(result, UNREACHABLE, "onus status says so")
    plain = sandbox.onus("status")
    suite.check("DOWN" in plain.out and "NO QUORUM" in plain.out,
                "and names who is down and what follows", plain)
    sandbox.start(3)
    suite.code(sandbox.ready(), OK, "they resume when a third is back")
    sandbox.start(2)
    harness.wait_until(lambda: sandbox.onus("status").code == OK, 20)
    suite.code(sandbox.onus("status"), OK, "and all is well with four")
    harness.wait_until(lambda: sandbox.level(), 20)
    suite.check(sandbox.level(), "the replica that was away has caught up", sandbox.status()[0])


def primary_killed(suite, sandbox):
    """Another takes its place; when it is back it is one of the others."""
    old = sandbox.primary()
    sandbox.kill(old)
    sandbox.commits("without the primary, another one takes its place")
    sandbox.start(old)
    suite.check(sandbox.follows(*range(4)), "the old one is back, and follows", sandbox.status()[0])
    suite.check(sandbox.primary() != old, "and is the primary no longer", sandbox.status()[0])


def paused(suite, sandbox):
    """A replica that sleeps for a while delays nobody, and follows when it wakes."""
    sandbox.pause(1)
    try:
        suite.code(sandbox.onus("submit", "kv.put", "one", "asleep"), OK, "a replica may sleep")
    finally:
        sandbox.resume(1)
    suite.check(harness.wait_until(lambda: sandbox.level(), 20), "and follows when it wakes")


def crash(suite):
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    all_killed_under_load(suite, sandbox)
    client_killed_under_load(suite, sandbox)
    replicas_lost(suite, sandbox)
    primary_killed(suite, sandbox)
    paused(suite, sandbox)
    sandbox.down()
    suite.code(sandbox.audit(), OK, "after all of it the audit is clean")


if __name__ == "__main__":
    harness.main(crash)
