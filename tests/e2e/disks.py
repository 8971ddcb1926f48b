#!/usr/bin/env python3
"""Disks that are full, that cannot sync, that cannot be read, that take their time.

A replica with a full disk waits for space and votes again by itself when there is some. One whose
sync failed ends, for nobody knows what the file holds, and says so; started again it goes on from
what is there. The others go on meanwhile, if they are a quorum. The faults come from a library that
stands between the replica and the system (tests/faulty).
"""

import os
import time

import harness
from harness import ERROR, OK, UNREACHABLE, Load, Meter, Sandbox, program, run

LOAD = ("--clients", 8, "--bundle", 8)
EPISODE_S = 1.5
LOAD_RETURNS = 500  # transactions: more than what else is committed while nobody asks again
SLOW_MS = 120


class Disks:
    """The disks of a sandbox's replicas, each with the faults that it is given."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.told = {}  # how long the replica's log was when it was given faults
        library = os.environ.get("ONUS_FAULTY", "")
        assert os.path.exists(library), "ONUS_FAULTY does not name the library: run it with meson"
        for replica in range(sandbox.count):
            sandbox.environment[replica] = {
                "LD_PRELOAD": library,
                "ONUS_FAULTY_DIRECTORY": os.path.realpath(self.data(replica)),
                "ONUS_FAULTY_CONTROL": self.control(replica),
            }

    def data(self, replica):
        return os.path.join(self.sandbox.home(replica), "data")

    def control(self, replica):
        return os.path.join(self.sandbox.home(replica), "faults")

    def give(self, replicas, *faults):
        """These faults to these disks, from now on; none: they are well again."""
        for replica in replicas:
            path = self.control(replica)
            if faults:
                self.told[replica] = len(self.sandbox.log_text(replica))
            with open(path + ".new", "w", encoding="ascii") as file:
                file.write("".join(fault + "\n" for fault in faults))
            os.rename(path + ".new", path)


class Story:
    def __init__(self, suite):
        self.suite = suite
        self.sandbox = Sandbox(suite).up()
        self.sandbox.down()
        self.disks = Disks(self.sandbox)
        self.sandbox.start(*range(4))

    def backup(self, nth=1):
        return (self.sandbox.primary() + nth) % 4

    def goes_on(self, title, but=None, seconds=EPISODE_S):
        """Does the load get on for a while, at all replicas but one?"""
        with Meter(self.sandbox) as meter:
            time.sleep(seconds)
        rates = {r: meter.rate(r, 0, time.monotonic()) for r in range(4)}
        self.suite.check(all(rate > 0 for r, rate in rates.items() if r != but), title,
                         "\n".join(f"replica {r}: {rate:.0f} B/s" for r, rate in rates.items()))

    def load_returns(self, title):
        """After an outage: its requests came to nothing, or to too few replies, and are sent again
        when the client's patience with each is over (SESSION_RETRY_MS_MAX)."""
        goal = self.sandbox.committed() + LOAD_RETURNS
        self.suite.check(harness.wait_until(lambda: self.sandbox.committed() > goal), title,
                         self.sandbox.status()[0])

    def follows(self, title, *replicas):
        good = self.sandbox.follows(*replicas) and \
            harness.wait_until(lambda: self.sandbox.voting(*replicas))
        self.suite.check(good, title, "\n".join(
            [str(self.sandbox.status()[0])] +
            [self.sandbox.log_text(replica)[-1500:] for replica in replicas]))

    def says(self, replica, title, *words):
        """A line of the replica's log with all these words, since its disk was given its faults."""
        def told():
            text = self.sandbox.log_text(replica)[self.disks.told[replica]:].lower()
            return [line for line in text.splitlines() if all(word in line for word in words)]

        self.suite.check(harness.wait_until(told), title, self.sandbox.log_text(replica)[-1500:])

    def ends(self, replica, title):
        """The process ends by itself, with the code for an error."""
        process = self.sandbox.replicas[replica]
        harness.wait_until(lambda: process.poll() is not None)
        self.suite.check(process.poll() == ERROR, title, f"exit {process.poll()}\n" +
                         self.sandbox.log_text(replica)[-1500:])

    def submit_in_vain(self, title):
        result = self.sandbox.onus("--timeout", 2, "submit", "kv.put", "disk", title)
        self.suite.code(result, UNREACHABLE, title)


def one_full(story):
    victim = story.backup()
    story.disks.give([victim], "space 20001")

    def told():
        status = story.sandbox.replica_status(victim)
        return status.get("voting") is False and "full" in status.get("error", "")

    story.suite.check(harness.wait_until(told), "a disk fills up: its replica does not vote, and "
                      "says why", story.sandbox.status()[0])
    story.goes_on("the others go on", but=victim)
    story.disks.give([victim])
    story.follows("there is space again: the replica votes by itself", victim)
    story.says(victim, "and its log tells both", "has space again")


def most_full(story):
    """All but one: nothing commits, nobody ends, and space is all that it takes."""
    full = [story.backup(nth) for nth in (0, 1, 2)]
    story.disks.give(full, "space 0")
    time.sleep(0.3)  # what was durable gets its answer
    story.submit_in_vain("three of four disks are full: nothing commits")
    story.suite.check(all(story.sandbox.pids().values()), "but no process ends")
    story.disks.give(full)
    story.sandbox.commits("there is space again: the service commits")
    story.follows("and all vote", *range(4))
    story.load_returns("and the load goes on")


def slow(story):
    victim = story.backup()
    view = story.sandbox.replica_status(victim).get("view")
    story.disks.give([victim], f"sync-takes-ms {SLOW_MS}")
    story.goes_on(f"syncs of {SLOW_MS} ms at one replica: the load goes on")
    story.disks.give(range(4), f"sync-takes-ms {SLOW_MS}")
    story.goes_on("at all replicas: it goes on")
    story.disks.give(range(4))
    story.suite.check(story.sandbox.replica_status(victim).get("view") == view,
                      "which is nobody's fault: no change of view")


def sync_fails(story, victim, title):
    story.disks.give([victim], "syncs-fail")
    story.ends(victim, f"{title}: a sync fails, and the process ends")
    story.says(victim, f"{title}: its log says why", "the disk failed", "input/output error")
    story.sandbox.commits(f"{title}: the others go on")
    story.disks.give([victim])
    story.sandbox.start(victim)
    story.follows(f"{title}: started again, it goes on", victim)


def backup_sync_fails(story):
    sync_fails(story, story.backup(), "a backup")
    victim = story.backup(2)
    story.disks.give([victim], "writes-fail", "only ledger")
    story.ends(victim, "a write of the ledger fails, and the process ends")
    story.disks.give([victim])
    story.sandbox.start(victim)
    story.follows("started again, it goes on", victim)


def primary_sync_fails(story):
    sync_fails(story, story.sandbox.primary(), "the primary")


def checkpoint_fails(story):
    """The state is not the ledger: a checkpoint can be written later."""
    victim = story.backup()
    story.disks.give([victim], "space 0", "only /state")
    story.says(victim, "no space for a checkpoint: the log says so", "checkpoint", "full")
    story.disks.give([victim])
    story.follows("the replica goes on, and writes it later", victim)


def unreadable(story):
    """A replica that cannot read its files does not start, and does not take them for damaged."""
    sandbox, victim = story.sandbox, 3
    sandbox.kill(victim)
    story.disks.give([victim], "reads-fail")
    result = run("env", *(f"{name}={value}" for name, value in sandbox.environment[victim].items()),
                 program("onusd"), "--config", sandbox.config(victim), timeout=20)
    story.suite.says(result, ERROR, "a replica that cannot read its files does not start",
                     "Input/output error")
    story.disks.give([victim])
    # One that cannot read its ledger for others is no obstacle for them.
    for number in range(40):
        sandbox.onus("submit", "kv.put", "unread", number)  # so that a primary is among the others
    reader = next(r for r in range(3) if r != sandbox.primary())
    story.disks.give([reader], "reads-fail", "only ledger")
    sandbox.start(victim)
    story.follows("one that cannot read its ledger keeps nobody from catching up", victim)
    story.disks.give([reader])


def full_at_start(story):
    sandbox, victim = story.sandbox, story.backup()
    sandbox.kill(victim)
    story.disks.give([victim], "space 0")
    sandbox.start(victim)
    story.says(victim, "started on a full disk, a replica says so", "full")
    story.disks.give([victim])
    if sandbox.pids()[victim] is None:
        sandbox.start(victim)
    story.follows("and goes on when there is space", victim)


def disks(suite):
    story = Story(suite)
    sandbox = story.sandbox
    if not suite.code(sandbox.ready(), OK, "the service commits"):
        return
    load = Load(sandbox, *LOAD)
    suite.check(load.begun(), "a load is under way")
    held = sandbox.receipts()
    def chapter(tell):
        started = time.monotonic()
        tell(story)
        print(f"# {tell.__name__}: {time.monotonic() - started:.1f} s")

    for tell in (one_full, most_full, slow, checkpoint_fails, backup_sync_fails, full_at_start,
                 primary_sync_fails):
        chapter(tell)
    load.finish("all of it under load, every request of which has its receipt")
    chapter(unreadable)
    sandbox.down()
    suite.check(held <= sandbox.receipts(), "no receipt is lost")
    suite.code(sandbox.audit(), OK, "and the audit is clean")


if __name__ == "__main__":
    harness.main(disks)
