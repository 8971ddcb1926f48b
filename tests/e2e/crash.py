#!/usr/bin/env python3
"""Power cuts and lost replicas: what was receipted stays, and the load gets through.

All four replicas are killed under load and come back; the client is killed under load and comes
back; replicas stop one by one and return. In the end the auditor finds ledgers and receipts whole.
"""

import os
import signal
import time

import harness
from harness import OK, UNREACHABLE, Sandbox, finish, program, run

LINES = 80000
BUNDLE = 8
DEPOSITS = 20000


def receipts(sandbox):
    """The ids of the transactions that have a receipt."""
    result = sandbox.onus("receipt", "list")
    lines = [line.split() for line in result.out.splitlines()]
    return {words[0] for words in lines if len(words) > 2 and words[1] == "index"}


def audit(sandbox, *replicas):
    ledgers = [word for r in replicas for word in ("--ledger", sandbox.ledger(r))]
    return run(program("onus-audit"), "run", "--service", sandbox.service(), *ledgers,
               "--receipts", os.path.join(sandbox.context, "receipts"), timeout=120)


def all_killed_under_load(suite, sandbox):
    load = sandbox.load([["kv.put", f"key-{n}", f"value-{n}"] for n in range(LINES)],
                        "--bundle", BUNDLE)
    held = set()
    for round_number in (1, 2):
        harness.wait_until(lambda known=held: len(receipts(sandbox)) > len(known) + 2000, 30)
        suite.check(load.poll() is None, f"round {round_number}: the load is under way")
        sandbox.kill(*range(4))
        held = receipts(sandbox)
        suite.check(len(held) > 0, f"round {round_number}: receipts were handed out before")
        print(f"# {len(held)} transactions of {LINES} have receipts")
        time.sleep(0.5)
        sandbox.start(*range(4))
    suite.code(finish(load, 120), OK, "the load finishes after two kills of all replicas")
    now = receipts(sandbox)
    suite.check(held <= now, "no receipt was lost", f"{len(held - now)} are missing")
    suite.check(len(now) > LINES, "every line has a receipt", f"{len(now)} of {LINES}")
    suite.code(sandbox.onus("receipt", "verify", os.path.join(sandbox.context, "receipts"),
                            timeout=120), OK, "every receipt verifies")
    suite.code(audit(sandbox, 0, 1, 2, 3), OK, "and all reconcile with the ledgers")


def client_killed_under_load(suite, sandbox):
    """One execution for each line, whatever becomes of the client."""
    suite.code(sandbox.onus("submit", "bank.create_account", "saver", "0", "0"), OK,
               "an account is created")
    lines = [["bank.deposit_checking", "saver", "1"] for _ in range(DEPOSITS)]
    load = sandbox.load(lines, "--bundle", 1)
    before = len(receipts(sandbox))
    harness.wait_until(lambda: len(receipts(sandbox)) > before + 500, 20)
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
    harness.wait_until(lambda: level(sandbox), 20)
    suite.check(level(sandbox), "the replica that was away has caught up", sandbox.status()[0])


def level(sandbox):
    """Do all replicas stand at the same committed batch?"""
    _, status = sandbox.status()
    replicas = status["replicas"] if status else []
    return len({replica.get("committed_seq") for replica in replicas}) == 1


def primary_killed(suite, sandbox):
    """The others change the view and go on; it follows when it is back."""
    sandbox.kill(0)
    result = sandbox.onus("--timeout", "30", "submit", "kv.put", "primary", "gone")
    suite.code(result, OK, "without the primary the others change the view and commit")
    sandbox.start(0)
    suite.code(sandbox.ready(), OK, "and it is back")


def paused(suite, sandbox):
    """A replica that sleeps for a while delays nobody, and follows when it wakes."""
    pid = sandbox.pids()[1]
    os.kill(pid, signal.SIGSTOP)
    try:
        suite.code(sandbox.onus("submit", "kv.put", "one", "asleep"), OK, "a replica may sleep")
    finally:
        os.kill(pid, signal.SIGCONT)
    suite.check(harness.wait_until(lambda: level(sandbox), 20), "and follows when it wakes")


def crash(suite):
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    all_killed_under_load(suite, sandbox)
    client_killed_under_load(suite, sandbox)
    replicas_lost(suite, sandbox)
    primary_killed(suite, sandbox)
    paused(suite, sandbox)
    sandbox.down()
    suite.code(audit(sandbox, 0, 1, 2, 3), OK, "after all of it the audit is clean")


if __name__ == "__main__":
    harness.main(crash)
