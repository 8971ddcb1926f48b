#!/usr/bin/env python3
"""A day in the life of a consortium: what its operators, clients and auditors do, as they do it.

Four members found it. Two of them rewrite its history for a victim. Three members join, each with a
replica; a replica dies and is replaced; a key is rotated; the two are voted out on the evidence
that an auditor found. In the evening all receipts of the day verify without the service, and the
audit of the whole ledger is clean, or names just the guilty. Load is on all the time.
"""

import hashlib
import os
import re
import shutil
import signal

from harness import (INVALID, MISBEHAVIOUR, OK, PORT_STEP, REJECTED, Load, free_ports, main,
                     program, run, wait_until)
from reconfigure import Service

GUILTY = ("bank-a", "bank-b")
STEAL = ["--drop", "1", "--add", "bank.send_payment alice mallory 100"]


class Consortium(Service):
    """Members with the keys that they have now, replicas that come and go, and the number of the
    configuration that should be in force."""

    def __init__(self, suite):
        super().__init__(suite, "consortium")
        self.keys = {name: self.path("members", name + ".key")
                     for name in ("bank-a", "bank-b", "bank-c", "bank-d")}
        self.configuration = 1
        self.running = {0, 1, 2, 3}  # replicas, by the number that their homes have

    def down(self):
        self.kill(*sorted(self.running), how=signal.SIGTERM)

    def onus_ok(self, title, *arguments):
        result = self.onus(*arguments)
        self.suite.code(result, OK, title)
        return result

    def passes(self, title, proposer, *what):
        """Propose it, look, and vote until it passes; then every replica is on the other side."""
        suite = self.suite
        proposed = self.onus("-o", "json", "gov", "propose", *what, "--key", self.keys[proposer],
                             "--yes")
        suite.code(proposed, OK, f"{title}: {proposer} proposes it")
        if proposed.code != OK:
            return
        proposal = proposed.json()["proposal"]
        passed = False
        for name, key in self.keys.items():
            if name in GUILTY and "remove" in " ".join(map(str, what)):
                continue  # they would hardly agree
            voted = self.onus("gov", "vote", proposal, "yes", "--key", key, "--yes")
            passed = passed or (voted.code == OK and " passed" in voted.out)
            if passed:
                break
        suite.check(passed, f"{title}: the members agree", voted)
        self.configuration += 1
        self.entered(self.configuration, *sorted(self.running))
        self.commits(f"{title}: clients go on in configuration {self.configuration}")

    def new_replica(self, number, member):
        """Its member makes it on its host, endorses it and starts it; the credential."""
        home, port = self.home(number), free_ports(PORT_STEP)
        self.onus_ok(f"{member} makes replica {number}", "gov", "replica", "--member", member,
                     "--replica", number, "--peer-address", f"127.0.0.1:{port + 1}",
                     "--client-address", f"127.0.0.1:{port}", "--out", home)
        endorsed = self.path(f"replica-{number}.credential")
        self.onus_ok(f"{member} endorses it", "gov", "endorse", "--credential",
                     os.path.join(home, "replica.credential"), "--member-key", self.keys[member],
                     "--out", endorsed)
        self.newcomer(number)
        self.running.add(number)
        return endorsed

    def new_key(self, kind, name):
        """A key and its credential, made where it stays."""
        key = self.path(f"{name}-{self.configuration}.key")
        credential = key.replace(".key", ".credential")
        self.suite.code(run(program("onus"), "key", "generate", key), OK, f"{name} makes a key")
        self.onus_ok("and signs for its use", "gov", "possession", f"--{kind}", name, "--key", key,
                     "--out", credential)
        return key, credential


def morning(suite, day):
    """Payments, with receipts; then two members make another history, and show it to a victim."""
    for account in (("alice", 100, 0), ("bob", 0, 0), ("mallory", 0, 0)):
        day.onus_ok("an account", "submit", "bank.create_account", *account)
    wait_until(day.level)
    day.kill(3)  # it is away for a while, and will know nothing of the payment
    payment = day.path("payment.receipt")
    day.onus_ok("alice pays bob", "submit", "bank.send_payment", "alice", "bob", 25, "--receipt",
                payment)
    day.commits("and life goes on")
    batch = day.onus_ok("bob looks at the receipt", "-o", "json", "receipt", "show",
                        payment).json()["batch"]["seq"]
    day.kill(0, 1, 2, how=signal.SIGTERM)
    forged = day.path("forged")
    suite.code(run(program("onus-forge"), "rewrite", "--sandbox", day.dir, "--colluders", "0,1", "--helpers", "3",
                   "--from-batch", batch, "--out", forged, *STEAL), OK,
               "two members rewrite the payment away")
    day.start(*sorted(day.running))
    suite.code(day.ready(), OK, "nobody notices yet")
    return payment, forged


def three_join(day):
    for number, name in ((4, "bank-e"), (5, "bank-f"), (6, "bank-g")):
        key, credential = day.new_key("member", name)
        day.keys[name] = key
        replica = day.new_replica(number, name)
        day.passes(f"{name} joins", "bank-c", "--add-member", credential, "--add-replica", replica)


def one_dies(suite, day):
    """Its machine is gone with all that was on it; another takes its place."""
    day.kill(3)
    shutil.rmtree(day.home(3))
    day.running.discard(3)
    day.commits("replica 3 is gone, and six of seven go on")
    replacement = day.new_replica(7, "bank-d")
    day.passes("replica 3 is replaced", "bank-d", "--replace-replica", f"3={replacement}")
    suite.check(day.said(7, "is part of the configuration", "place="), "the other is part of it",
                day.log_text(7)[-1500:])


def key_rotated(suite, day):
    key, credential = day.new_key("member", "bank-c")
    old = day.keys["bank-c"]
    day.passes("bank-c rotates its key", "bank-c", "--rotate-member", credential)
    day.keys["bank-c"] = key
    user = day.new_key("user", "dora")[1]
    refused = day.onus("gov", "propose", "--add-user", user, "--key", old, "--yes")
    suite.check(refused.code != OK, "the old key proposes nothing any more", refused)
    day.passes("dora comes, by a proposal that the new key signs", "bank-c", "--add-user", user)


def blamed(result):
    return {name for line in result.out.splitlines() if line.strip().startswith("blamed")
            for name in re.findall(r"bank-[a-z]", line)}


def voted_out(suite, day, forged):
    """An auditor holds what the victim has against the ledger; a stranger checks the evidence; the
    members vote on it."""
    evidence = day.path("evidence")
    os.mkdir(evidence)
    found = run(program("onus-audit"), "run", "--service", day.service(), "--evidence", evidence,
                "--ledger", day.ledger(2), "--receipts", os.path.join(forged, "receipts"),
                timeout=120)
    suite.code(found, MISBEHAVIOUR, "the victim's receipt contradicts the ledger")
    suite.check(blamed(found) == set(GUILTY), "which names the two", found)
    proof = os.path.join(evidence, sorted(os.listdir(evidence))[0])
    verified = run(program("onus-audit"), "verify", "--service", day.service(), proof)
    suite.code(verified, OK, "a stranger verifies the evidence")
    with open(proof, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    for name, replica in zip(GUILTY, (0, 1)):
        place = place_of(day, name)
        day.passes(f"{name} is voted out", "bank-d", "--text", f"{name} forged a payment",
                   "--evidence", proof, "--remove-member", name, "--remove-replica", place)
        suite.check(day.said(replica, "not part of the configuration any more"),
                    f"the replica of {name} says so")
        day.kill(replica)
        day.running.discard(replica)
        day.commits(f"without {name}")
        refused = day.onus("gov", "propose", "--voting-rule", "3/4", "--key", day.keys.pop(name),
                           "--yes")
        suite.check(refused.code in (REJECTED, INVALID), f"{name} governs nothing any more",
                    refused)
    return digest


def place_of(day, member):
    """The number that a member's replica has in the configuration in force."""
    shown = day.onus_ok("who takes part is looked up", "-o", "json", "gov", "show").json()
    return [replica["member"] for replica in shown["replicas"]].index(member)


def evening(suite, day, payment, forged, digest):
    """Everything is looked at once more, by those who were not there."""
    last = day.path("last.receipt")
    day.onus_ok("the day's last payment", "submit", "kv.put", "day", "done", "--receipt", last)
    exported = day.path("all.receipts")
    day.onus_ok("all receipts of the day are exported", "receipt", "export", exported)
    day.down()
    for what, path in (("the morning's payment", payment), ("the last one", last),
                       ("all that was exported", exported)):
        verified = run(program("onus"), "receipt", "verify", "--service", day.service(),
                       "--genesis", day.path("genesis.onus"), path)
        suite.code(verified, OK, f"{what} verifies without the service")
    ledgers = [word for replica in sorted(day.running) for word in
               ("--ledger", day.ledger(replica))]
    receipts = os.path.join(day.context, "receipts")
    clean = run(program("onus-audit"), "run", "--service", day.service(), *ledgers, "--receipts",
                receipts, timeout=240)
    suite.code(clean, OK, "the audit of the whole ledger is clean")
    suite.check(f"configuration {day.configuration}" in clean.out or
                str(day.configuration) in clean.out, "over all configurations", clean)
    guilty = run(program("onus-audit"), "run", "--service", day.service(), *ledgers, "--receipts",
                 receipts, os.path.join(forged, "receipts"), "--evidence", forged, timeout=240)
    suite.code(guilty, MISBEHAVIOUR, "with what the victim holds it is not")
    suite.check(blamed(guilty) == set(GUILTY), "and names just the guilty", guilty)


def day_in_the_life(suite):
    day = Consortium(suite).up()
    suite.code(day.ready(), OK, "four members found it")
    payment, forged = morning(suite, day)
    load = Load(day, "--clients", 1)
    three_join(day)
    one_dies(suite, day)
    key_rotated(suite, day)
    digest = voted_out(suite, day, forged)
    load.finish("each request of the day's load has its receipt")
    evening(suite, day, payment, forged, digest)


if __name__ == "__main__":
    main(day_in_the_life)
