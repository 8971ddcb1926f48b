#!/usr/bin/env python3
"""A service founded step by step by its members, with checkpoints every few batches.

The same steps as for a real deployment: prologue, an endorsement by each member, genesis. Then
replicas that lag, lose their state, or begin from nothing cross many checkpoints on their way back.
"""

import os
import shutil

import harness
from harness import ERROR, INVALID, OK, USAGE, Sandbox, program, run

INTERVAL = 9


def onus(*arguments):
    return run(program("onus"), *arguments)


def key_of(path):
    return onus("key", "show", path).out.split()[-1]


def endorse(suite, sandbox, prologue, member, out, member_key=None):
    name = f"bank-{'abcd'[member]}"
    return onus("genesis", "endorse", "--prologue", prologue,
                "--member-key", sandbox.path("members", (member_key or name) + ".key"),
                "--member", member, "--replica", member,
                "--replica-key", key_of(os.path.join(sandbox.home(member), "replica.key")),
                "--tls-certificate", os.path.join(sandbox.home(member), "tls.crt"),
                "--peer-address", f"127.0.0.1:{sandbox.peer_port(member)}",
                "--client-address", f"127.0.0.1:{sandbox.client_port(member)}", "--out", out)


def found(suite, sandbox):
    """Put a genesis of our own in the place of the sandbox's."""
    prologue = os.path.join(suite.dir, "prologue")
    suite.code(onus("genesis", "prologue", "--name", "test", "--out", prologue,
                    "--checkpoint-interval", INTERVAL, "--pipeline", 3), OK, "a prologue")
    result = onus("genesis", "prologue", "--name", "test", "--out", prologue + "-bad",
                  "--checkpoint-interval", 2, "--pipeline", 3)
    suite.check(result.code in (USAGE, INVALID, ERROR), "an interval below the pipeline is refused",
                result)
    endorsements = []
    for member in range(4):
        endorsements.append(os.path.join(suite.dir, f"endorsement-{member}"))
        suite.code(endorse(suite, sandbox, prologue, member, endorsements[member]), OK,
                   f"member {member} endorses its replica")
    names = [f"bank-{letter}" for letter in "abcd"]
    members = [word for name in names for word in
               ("--member", f"{name}={key_of(sandbox.path('members', name + '.key'))}")]
    user = ["--user", f"user={key_of(os.path.join(sandbox.context, 'user.key'))}"]
    genesis = os.path.join(suite.dir, "genesis.onus")

    def create(list_of_endorsements, out):
        words = [word for path in list_of_endorsements for word in ("--endorsement", path)]
        return onus("genesis", "create", "--prologue", prologue, *members, *words, *user,
                    "--out", out)

    forged = os.path.join(suite.dir, "endorsement-forged")
    suite.check(endorse(suite, sandbox, prologue, 2, forged, member_key="bank-a").code == OK,
                "a member endorses what is another's")
    result = create(endorsements[:2] + [forged] + endorsements[3:], genesis + "-bad")
    suite.check(result.code != OK and not os.path.exists(genesis + "-bad"),
                "which makes no genesis", result)
    suite.code(create(endorsements, genesis), OK, "genesis is put together")
    shown = run(program("onus"), "-o", "json", "genesis", "show", genesis)
    suite.check(shown.code == OK and len(shown.json()["service"]) == 64, "and shown", shown)
    for place in (sandbox.path("genesis.onus"), os.path.join(sandbox.context, "genesis.onus")):
        shutil.copy(genesis, place)
    shutil.rmtree(os.path.join(sandbox.context, "receipts"), ignore_errors=True)
    for replica in range(4):
        shutil.rmtree(os.path.join(sandbox.home(replica), "data"))
        init = run(program("onusd"), "--config", sandbox.config(replica), "--init")
        suite.code(init, OK, f"replica {replica} makes its data directory")


def submit_many(suite, sandbox, count, title):
    failed = [result for result in
              (sandbox.onus("submit", "kv.put", f"key-{n % 7}", f"{title} {n}")
               for n in range(count)) if result.code != OK]
    suite.check(not failed, f"{count} transactions: {title}", failed[0] if failed else None)


def statuses(sandbox):
    _, status = sandbox.status()
    return status["replicas"] if status else []


def level(sandbox):
    """Do all replicas vote, at one committed batch?"""
    replicas = statuses(sandbox)
    return all(r.get("voting") for r in replicas) and \
        len({r.get("committed_seq") for r in replicas}) == 1


def checkpoints(suite):
    sandbox = Sandbox(suite).up()
    sandbox.down()
    found(suite, sandbox)
    sandbox.start(*range(4))
    suite.code(sandbox.ready(), OK, "the service commits")
    submit_many(suite, sandbox, 40, "across many checkpoints")

    sandbox.kill(*range(4))
    sandbox.start(*range(4))
    suite.code(sandbox.ready(), OK, "killed and restarted, it commits")
    suite.check(harness.wait_until(lambda: level(sandbox)), "and all vote", sandbox.status()[0])

    sandbox.kill(1)
    shutil.rmtree(os.path.join(sandbox.home(1), "data", "state"))
    sandbox.start(1)
    suite.check(harness.wait_until(lambda: level(sandbox)),
                "a replica rebuilds a lost state from its ledger", log_tail(sandbox, 1))
    submit_many(suite, sandbox, 12, "after the state was rebuilt")

    sandbox.kill(2)
    submit_many(suite, sandbox, 40, "while a replica is away")
    sandbox.start(2)
    suite.check(harness.wait_until(lambda: level(sandbox)),
                "it catches up across many checkpoints, and votes", log_tail(sandbox, 2))

    sandbox.kill(3)
    shutil.rmtree(os.path.join(sandbox.home(3), "data"))
    run(program("onusd"), "--config", sandbox.config(3), "--init")
    sandbox.start(3)

    def followed():
        replicas = statuses(sandbox)
        return len({r.get("committed_seq") for r in replicas}) == 1

    suite.check(harness.wait_until(followed), "one that begins from nothing follows to the end",
                log_tail(sandbox, 3))
    submit_many(suite, sandbox, 12, "after all of it")
    sandbox.down()
    ledgers = [sandbox.ledger(r) for r in range(4)]
    audit = run(program("onus-audit"), "run", "--service", sandbox.service(), "--ledger", *ledgers,
                "--receipts", os.path.join(sandbox.context, "receipts"))
    suite.code(audit, OK, "the audit is clean, every checkpoint recomputed")


def log_tail(sandbox, replica):
    with open(sandbox.log(replica), encoding="utf-8", errors="replace") as file:
        return file.read()[-1500:]


if __name__ == "__main__":
    harness.main(checkpoints)
