#!/usr/bin/env python3
"""Coalitions rewrite history with real keys; the auditor names those who signed, and nobody else.

One sandbox makes the true history: replica 3 is cut off before alice's payment. Then two replicas
(with replica 3 as an honest helper), three, and four rewrite the payment away, in several ways.
"""

import html.parser
import os
import shutil

import harness
from harness import (CANNOT_AUDIT, CORRUPT, INVALID, MISBEHAVIOUR, OK, Sandbox, program, run)
from receipts import refused_with_reason, spoil_everywhere

STEAL = ["--drop", "1", "--add", "bank.send_payment alice mallory 100"]
MEMBERS = ["bank-a", "bank-b", "bank-c", "bank-d"]


class Court:
    """The true history, what alice holds, and audits of whatever is brought."""

    def __init__(self, suite):
        self.suite = suite
        self.sandbox = Sandbox(suite).up()
        self.payment = os.path.join(suite.dir, "payment.receipt")
        self.alice = os.path.join(suite.dir, "alice")
        self.nothing = os.path.join(suite.dir, "nothing")
        os.mkdir(self.alice)
        os.mkdir(self.nothing)
        self.histories = 0

    def live(self):
        """The true history."""
        suite, sandbox = self.suite, self.sandbox
        suite.code(sandbox.ready(), OK, "the service commits")
        lines = [["kv.put", f"k{n % 50}", f"{n}"] for n in range(1500)]
        suite.code(harness.finish(sandbox.load(lines, "--bundle", 4), 60), OK, "some history")
        for account in (("alice", 100, 0), ("bob", 0, 0), ("mallory", 0, 0)):
            suite.code(sandbox.onus("submit", "bank.create_account", *account), OK, "an account")
        harness.wait_until(lambda: False, 0.5)  # evidence for all of it
        sandbox.kill(3)
        suite.code(sandbox.onus("submit", "bank.send_payment", "alice", "bob", "25", "--receipt",
                                self.payment), OK, "alice pays bob while replica 3 is cut off")
        # Many at once, so that one batch holds several requests that could come in any order.
        lines = [["kv.put", "later", f"{n}"] for n in range(100)]
        suite.code(harness.finish(sandbox.load(lines, "--bundle", 1), 60), OK, "life goes on")
        harness.wait_until(lambda: False, 0.5)
        self.service = sandbox.service()
        shown = sandbox.onus("-o", "json", "receipt", "show", self.payment)
        self.batch = int(shown.json()["batch"]["seq"])
        sandbox.down()
        shutil.copy(self.payment, self.alice)

    def rewrite(self, colluders, *options, batch=None):
        """A forged history; its directory."""
        self.histories += 1
        out = os.path.join(self.suite.dir, f"history-{self.histories}")
        result = run(program("onus-forge"), "rewrite", "--sandbox", self.sandbox.dir, "--colluders",
                     colluders, "--from-batch", batch or self.batch, "--out", out, *options)
        self.suite.code(result, OK, f"replicas {colluders} rewrite history {' '.join(options)}")
        return out

    def audit(self, ledgers, receipts):
        self.evidence = os.path.join(self.suite.dir, "evidence")
        shutil.rmtree(self.evidence, ignore_errors=True)
        os.mkdir(self.evidence)
        return run(program("onus-audit"), "run", "--service", self.service, "--evidence",
                   self.evidence, "--ledger", *ledgers, "--receipts", *receipts, timeout=120)

    def proofs(self):
        return sorted(os.path.join(self.evidence, name) for name in os.listdir(self.evidence))

    def convicts(self, title, ledgers, receipts, guilty):
        """The audit proves misbehaviour of exactly these replicas, and others can check it."""
        suite = self.suite
        result = self.audit(ledgers, receipts)
        suite.code(result, MISBEHAVIOUR, f"{title}: misbehaviour is proven")
        blamed = {m for line in result.out.splitlines() if line.strip().startswith("blamed")
                  for m in MEMBERS if m in line}
        suite.check(blamed == {MEMBERS[r] for r in guilty},
                    f"{title}: exactly the guilty are named", f"blamed {blamed}\n{result}")
        proofs = self.proofs()
        suite.check(proofs, f"{title}: there is evidence")
        for proof in proofs:
            check = run(program("onus-audit"), "verify", "--service", self.service, proof)
            suite.code(check, OK, f"{title}: the evidence verifies")
            suite.check(not any(MEMBERS[r] in check.out for r in set(range(4)) - set(guilty)),
                        f"{title}: it names no one else", check)
        return proofs


def ledger_of(history, member):
    return os.path.join(history, "ledgers", member)


def two_of_four(suite, court):
    truth = court.sandbox.ledger
    history = court.rewrite("0,1", "--helpers", "3", *STEAL)
    forged = ledger_of(history, "bank-a")
    proofs = court.convicts("two, by a receipt and their ledger", [forged], [court.alice], [0, 1])
    kept = os.path.join(suite.dir, "kept.evidence")
    shutil.copy(proofs[0], kept)
    court.convicts("two, by two ledgers", [truth(2), forged], [court.nothing], [0, 1])
    court.convicts("two, by their receipts and a true ledger", [truth(2)],
                   [os.path.join(history, "receipts")], [0, 1])
    court.convicts("two, by receipts of both histories", [truth(3)],
                   [os.path.join(history, "receipts"), court.alice], [0, 1])
    court.convicts("two, by everything there is",
                   [truth(r) for r in range(4)] + [ledger_of(history, m) for m in
                                                   ("bank-a", "bank-b", "bank-d")],
                   [court.alice, os.path.join(history, "receipts"),
                    os.path.join(court.sandbox.context, "receipts")], [0, 1])
    return kept


def more_of_four(suite, court):
    store = os.path.join(court.sandbox.context, "receipts")
    for colluders, options, receipts in (("0,1,2", STEAL, court.alice),
                                         ("0,1,2", ["--reorder"], store),
                                         ("0,1,2,3", STEAL, court.alice),
                                         ("0,1,2,3", ["--reorder"], store)):
        history = court.rewrite(colluders, *options)
        # Those who signed the true batches: replica 3 was cut off.
        court.convicts(f"{colluders} with {' '.join(options)}", [ledger_of(history, "bank-b")],
                       [receipts], [0, 1, 2])


def nobody(suite, court):
    """What convicts nobody."""
    truth = court.sandbox.ledger
    store = os.path.join(court.sandbox.context, "receipts")

    def innocent(title, code, ledgers, receipts):
        result = court.audit(ledgers, receipts)
        suite.code(result, code, f"{title}: exit {code}")
        suite.check("blamed" not in result.out and not court.proofs(), f"{title}: nobody is blamed",
                    result)

    innocent("the true history", OK, [truth(r) for r in range(4)], [store])
    innocent("a short ledger alone", CANNOT_AUDIT, [truth(3)], [court.alice])
    bad = os.path.join(suite.dir, "bad")
    os.mkdir(bad)
    with open(court.payment, "rb") as file:
        content = bytearray(file.read())
    content[len(content) // 2] ^= 4
    with open(os.path.join(bad, "bad.receipt"), "wb") as file:
        file.write(content)
    innocent("a bad receipt", INVALID, [truth(2)], [bad])
    damaged = os.path.join(suite.dir, "damaged")
    shutil.copytree(truth(2), damaged)
    name = os.path.join(damaged, sorted(os.listdir(damaged))[0])
    os.truncate(name, os.path.getsize(name) - 7)
    innocent("a damaged ledger", CORRUPT, [damaged], [store])
    innocent("no ledger at all", CANNOT_AUDIT, [court.nothing], [store])
    helper = run(program("onus-forge"), "rewrite", "--sandbox", court.sandbox.dir, "--colluders",
                 "0,1", "--helpers", "2", "--from-batch", court.batch, "--out",
                 os.path.join(suite.dir, "refused"), *STEAL)
    suite.check(helper.code != OK, "an honest replica does not sign twice", helper)


class Page(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.balanced = set(), [], [], True
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag


def page(suite, court, proof):
    """The report for people: one page that needs nothing else, whatever the file is called."""
    odd = os.path.join(suite.dir, "<script>alert('&quot;')<.evidence")
    shutil.copy(proof, odd)
    for path in (proof, odd):
        report = run(program("onus-audit"), "report", path, "-f", "html")
        suite.code(report, OK, "a report as a page")
        read = Page(report.out)
        suite.check(not read.tags & {"script", "img", "link", "iframe", "object", "form", "a"},
                    "the page has neither scripts nor anything from elsewhere", read.tags)
        suite.check(not any(name.startswith("on") or name in ("src", "href", "style", "action")
                            for name, _ in read.attributes), "nor attributes that do something",
                    read.attributes)
        suite.check(read.balanced and not read.open, "every element ends", read.open)
        suite.check("url(" not in report.out and "@import" not in report.out, "no style from afar")
        for word in ("bank-a", "bank-b", court.service, "onus-audit verify --service",
                     "prefers-color-scheme: dark", "@media print"):
            suite.check(word in report.out, f"the page says {word}")
        suite.check(not any(MEMBERS[r] in report.out.split("What was signed")[0] for r in (2, 3)),
                    "who is not blamed is not named among those who are")


def evidence(suite, court, proof):
    """A proof stands by itself, and only as it is."""

    def verify(path):
        return run(program("onus-audit"), "verify", "--service", court.service, path)

    suite.code(verify(proof), OK, "the evidence verifies")
    other = run(program("onus-audit"), "verify", "--service", "11" * 32, proof)
    suite.check(refused_with_reason(other), "evidence of another service: exit 5", other)
    report = run(program("onus-audit"), "report", proof, "-f", "json")
    suite.check(report.code == OK and "bank-b" in str(report.json()), "a report as JSON", report)
    report = run(program("onus-audit"), "report", proof, "-f", "text")
    suite.check(report.code == OK and "bank-b" in report.out, "a report as text", report)
    page(suite, court, proof)
    spoil_everywhere(suite, proof, verify, "evidence")


def blame(suite):
    court = Court(suite)
    court.live()
    proof = two_of_four(suite, court)
    more_of_four(suite, court)
    nobody(suite, court)
    evidence(suite, court, proof)


if __name__ == "__main__":
    harness.main(blame)
