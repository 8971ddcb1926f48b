#!/usr/bin/env python3
"""Members propose, look, vote and withdraw from the command line.

What passes is not tried here: that is a change of configuration. Everything up to the vote that
would be one too many is, and what each step answers to people, programs and those who may not.
"""

import hashlib
import os

from harness import ERROR, INVALID, OK, REJECTED, USAGE, Sandbox, main, program, run

NAMES = [f"bank-{letter}" for letter in "abcd"]


def told(suite, result, code, title, *words):
    """Check an exit code, and that all the words were said, to people or to programs."""
    said = result.out + result.err
    missing = [word for word in words if word not in said]
    suite.check(result.code == code and not missing, title,
                f"expected exit {code}; missing: {missing}\n{result}")


class Members:
    """The members of a sandbox: all share its context, and each signs with its own key."""

    def __init__(self, suite, sandbox):
        self.suite, self.sandbox = suite, sandbox

    def key(self, member):
        return self.sandbox.path("members", NAMES[member] + ".key")

    def gov(self, member, *arguments):
        return self.sandbox.onus("gov", *arguments, "--key", self.key(member))

    def json(self, member, *arguments):
        return self.sandbox.onus("-o", "json", "gov", *arguments, "--key", self.key(member))

    def propose(self, member, title, *arguments):
        result = self.json(member, "propose", *arguments, "--yes")
        self.suite.code(result, OK, title)
        return result.json()["proposal"] if result.code == OK else "0" * 64

    def open(self):
        result = self.sandbox.onus("-o", "json", "gov", "list")
        self.suite.code(result, OK, "what is open is listed, to a user too")
        return result.json()["open"] if result.code == OK else []


def make_credentials(suite, sandbox, members):
    """A member, a user and a replica that are to come; each key is made where it stays."""
    place = os.path.join(suite.dir, "new")
    os.mkdir(place)
    for name in ("member", "user"):
        suite.code(run(program("onus"), "key", "generate", os.path.join(place, name + ".key")), OK,
                   f"a key for a {name}")
        suite.code(sandbox.onus("gov", "possession", f"--{name}", f"new-{name}", "--key",
                                os.path.join(place, name + ".key"), "--out",
                                os.path.join(place, name + ".credential")), OK,
                   "which signs for its use")
    home = os.path.join(place, "replica")
    words = ["gov", "replica", "--member", "bank-b", "--replica", 4, "--peer-address",
             "127.0.0.1:7401", "--client-address", "127.0.0.1:7400", "--out", home]
    suite.code(sandbox.onus(*words), OK, "a replica's keys, certificate and credential")
    suite.check(os.stat(os.path.join(home, "replica.key")).st_mode & 0o77 == 0,
                "its key is closed to others")
    suite.code(sandbox.onus(*words), ERROR, "and nothing is replaced")
    told(suite, members.gov(0, "propose", "--dry-run", "--add-replica",
                           os.path.join(home, "replica.credential")), INVALID,
               "without a member's endorsement it is no use", "no member has endorsed")
    suite.code(sandbox.onus("gov", "endorse", "--credential",
                            os.path.join(home, "replica.credential"), "--member-key",
                            members.key(1), "--out", os.path.join(place, "replica.credential")),
               OK, "which its member gives")
    suite.code(sandbox.onus("gov", "endorse", "--credential",
                            os.path.join(home, "replica.credential"), "--member-key",
                            members.key(2), "--out", os.path.join(place, "wrong.credential")),
               OK, "as another member may, in vain")
    return place


def preview(suite, sandbox, members, place):
    """What is shown before anything is signed."""
    proposal = os.path.join(place, "proposal.yaml")
    evidence = os.path.join(place, "some.evidence")
    with open(evidence, "w", encoding="ascii") as file:
        file.write("a proof")
    with open(proposal, "w", encoding="ascii") as file:
        file.write("text: Two come\nevidence:\n  - some.evidence\nactions:\n"
                   "  - add_member: member.credential\n  - add_replica: replica.credential\n")
    told(suite, members.gov(0, "propose", proposal, "--dry-run"), OK, "a proposal is looked at",
               "members 4 → 5", "replicas 4 → 5", "quorum 3 → 4", "add member new-member",
               "add a replica of bank-b", "passes with the yes of 3 of 4")
    shown = members.json(0, "propose", proposal, "--dry-run")
    suite.check(shown.code == OK and shown.json()["after"]["quorum"] == 4 and
                shown.json()["evidence"] == [hashlib.sha256(b"a proof").hexdigest()],
                "by programs too", shown)
    for title, words, said in (
            ("a name that is nobody's", ("--remove-member", "bank-z"), "no such member"),
            ("the endorsement of another member",
             ("--add-replica", os.path.join(place, "wrong.credential")), "has not signed"),
            ("too few replicas", ("--remove-replica", "0"), "too few replicas"),
            ("nothing that changes", ("--voting-rule", "1/2"), "changes nothing"),
            ("a rule that nobody can keep", ("--voting-rule", "1/3"), "voting rule")):
        told(suite, members.gov(0, "propose", "--yes", *words), REJECTED,
                   f"{title}: told before it is sent", said)
    told(suite, members.gov(0, "propose", proposal), USAGE,
               "where nobody can be asked, nothing is signed", "--dry-run", "--yes")
    told(suite, sandbox.onus("gov", "propose", proposal, "--yes"), REJECTED,
               "a user proposes nothing", "only members govern")
    suite.check(members.open() == [], "none of this reached the ledger")
    return proposal


def vote(suite, sandbox, members, proposal):
    """Votes that leave a proposal open, change, and reject it."""
    opened = members.propose(0, "a member proposes", proposal)
    listed = members.open()
    suite.check([(line["id"], line["by"], line["yes"], line["no"]) for line in listed] ==
                [(opened, "bank-a", [], [])], "it is open, without votes", listed)
    told(suite, members.gov(0, "propose", "--remove-user", "user", "--yes"), REJECTED,
               "a member has one proposal open", "withdraw it first")
    told(suite, members.gov(1, "vote", opened, "yes"), USAGE, "a vote needs a word", "Two come")
    told(suite, members.gov(1, "vote", opened, "yes", "--yes"), OK, "or --yes", " open 1 0")
    told(suite, members.gov(2, "vote", opened, "yes", "--yes"), OK, "so does another", " open 2 0")
    told(suite, members.gov(2, "vote", opened, "no", "--yes"), OK, "who thinks again", " open 1 1")
    told(suite, sandbox.onus("gov", "show", opened), OK, "all see it and how it stands",
               "yes     bank-b\n", "no      bank-c\n", "not yet bank-a bank-d\n",
               "missing 2 more yes", "Two come", "add a replica of bank-b")
    shown = sandbox.onus("-o", "json", "gov", "show", opened)
    suite.check(shown.code == OK and shown.json()["votes"]["not_yet"] == ["bank-a", "bank-d"] and
                shown.json()["preview"]["id"] == opened, "programs too", shown)
    told(suite, sandbox.onus("gov", "vote", opened, "yes", "--yes"), REJECTED, "a user has no vote",
               "only members govern")
    told(suite, sandbox.onus("submit", "gov.vote", opened, "yes"), REJECTED,
               "nor by another command", "only members govern")
    told(suite, members.gov(1, "withdraw", opened), REJECTED, "nor withdraws another member",
               "only its proposer")
    told(suite, members.gov(3, "vote", opened, "no", "--yes"), OK,
               "as soon as it cannot pass, it is over", " rejected")
    suite.check(members.open() == [], "and open no more")
    told(suite, members.gov(3, "vote", opened, "no", "--yes"), REJECTED, "nor to be voted on",
               "no such proposal is open")


def withdraw(suite, sandbox, members, place):
    """Two proposals at once; one is withdrawn, the other outlives a restart of all replicas."""
    first = members.propose(1, "one proposes a user", "--add-user",
                            os.path.join(place, "user.credential"), "--text", "A user")
    second = members.propose(2, "one proposes parameters", "--pipeline", 3)
    suite.check([line["id"] for line in members.open()] == [first, second], "both are open")
    told(suite, members.gov(1, "withdraw", first), OK, "one is withdrawn", " withdrawn")
    told(suite, members.gov(0, "vote", second, "yes", "--yes"), OK, "the other has a vote",
               " open 1 0")
    for replica in range(4):
        sandbox.kill(replica)
    sandbox.start(0, 1, 2, 3)
    sandbox.ready()
    listed = members.open()
    suite.check([(line["id"], line["yes"]) for line in listed] == [(second, ["bank-a"])],
                "and keeps it through a crash of all replicas", listed)


def mistakes(suite, sandbox, members):
    told(suite, sandbox.onus("gov", "show"), OK, "who governs is shown without a network",
               "configuration  1\n", "bank-d", "quorum         3 of 4, tolerates 1")
    told(suite, members.gov(0, "vote", "abc", "yes", "--yes"), USAGE, "what is no id",
               "onus gov list")
    told(suite, members.gov(0, "vote", "0" * 64, "yes", "--yes"), REJECTED, "an id of nothing",
               "no such proposal is open")
    told(suite, members.gov(0, "vote", "0" * 64, "maybe"), USAGE, "what is no vote", "yes or no")
    told(suite, sandbox.onus("gov", "propose"), USAGE, "nothing to propose", "say what to propose")
    told(suite, sandbox.onus("submit", "gov.propose", "junk"), REJECTED, "no proposal at all",
               "members")


def governance(suite):
    sandbox = Sandbox(suite).up()
    sandbox.ready()
    members = Members(suite, sandbox)
    place = make_credentials(suite, sandbox, members)
    proposal = preview(suite, sandbox, members, place)
    vote(suite, sandbox, members, proposal)
    withdraw(suite, sandbox, members, place)
    mistakes(suite, sandbox, members)


if __name__ == "__main__":
    main(governance)
