#!/usr/bin/env python3
"""A running service is changed by votes: parameters; a replica comes; one gives its place to another.

After each change the service commits, replicas are killed and started on the other side of the
boundary, and a replica that came has the whole ledger: it is needed for the quorum. Clients follow
by themselves.
"""

import os
import re
import shutil

import chains
from harness import OK, PORT_STEP, Sandbox, free_ports, main, program, run, wait_until

NAMES = [f"bank-{letter}" for letter in "abcd"]


class Service(Sandbox):
    """A sandbox whose members govern it, and to which replicas come."""

    def key(self, member):
        return self.path("members", NAMES[member] + ".key")

    def pids(self):
        """Those that came are started here, and nowhere else."""
        found = super().pids()
        for replica, started in self.replicas.items():
            found[replica] = started.pid if started.poll() is None else None
        return found

    def gov(self, member, *arguments):
        return self.onus("-o", "json", "gov", *arguments, "--key", self.key(member), "--yes")

    def change(self, title, *what):
        """Propose it, and have three of the four members say yes."""
        suite = self.suite
        proposed = self.gov(0, "propose", *what)
        suite.code(proposed, OK, f"{title}: proposed")
        proposal = proposed.json()["proposal"] if proposed.code == OK else "0" * 64
        for member in range(3):
            voted = self.gov(member, "vote", proposal, "yes")
            suite.code(voted, OK, f"{title}: voted by {NAMES[member]}")

    def said(self, replica, *words, timeout=60):
        """Does its log have a line with all these words, now or soon?"""
        return wait_until(lambda: any(all(word in line for word in words) for line in
                                      self.log_text(replica).splitlines()), timeout)

    def entered(self, number, *replicas):
        for replica in replicas:
            self.suite.check(self.said(replica, "entered a configuration", f"config={number} "),
                             f"replica {replica} is in configuration {number}",
                             self.log_text(replica)[-2000:])

    def chained(self, number, *replicas):
        """Have all of them the chain up to this configuration, and do all say the same?"""
        suite, files = self.suite, []
        for replica in replicas:
            suite.check(
                wait_until(lambda r=replica: len(chains.links(chains.content(self, r))) ==
                           number - 1, 60),
                f"replica {replica} has the links to configuration {number}",
                self.log_text(replica)[-2000:])
            files += ["--chain", chains.path(self, replica)]
        suite.code(run(program("onus-audit"), "run", "--service", self.service(), "--ledger",
                       self.ledger(replicas[0]), *files), OK, "they hold, and say the same")

    def chain_served(self, number, *replicas):
        """Is everybody told of it who asks?"""
        for replica in replicas:
            kept = chains.links(chains.content(self, replica))
            told = [chains.ask(self, replica, config) for config in range(1, number + 2)]
            expected = [(number, kept[config - 1:]) for config in range(1, number + 2)]
            self.suite.check(told == expected, f"replica {replica} gives the links to "
                             f"configuration {number} to whoever asks", str(told)[:500])

    def executes(self, title):
        """Does a client, which nobody has told anything, get a receipt?"""
        self.commits(title, 60)

    def restarts(self, replica):
        """Kill it and start it: it goes on where it was."""
        self.kill(replica)
        lines = self.log_text(replica).count(" ready ")
        self.start(replica)
        self.suite.check(wait_until(lambda: self.log_text(replica).count(" ready ") > lines, 30),
                         f"replica {replica} starts again", self.log_text(replica)[-1000:])

    def credential(self, number, member):
        """A new replica's keys, and the credential that its member has endorsed."""
        home, port = self.home(number), free_ports(PORT_STEP)
        made = self.onus("gov", "replica", "--member", NAMES[member], "--replica", number,
                         "--peer-address", f"127.0.0.1:{port + 1}", "--client-address",
                         f"127.0.0.1:{port}", "--out", home)
        self.suite.code(made, OK, f"keys for replica {number}")
        endorsed = self.path(f"replica-{number}.credential")
        self.suite.code(self.onus("gov", "endorse", "--credential",
                                  os.path.join(home, "replica.credential"), "--member-key",
                                  self.key(member), "--out", endorsed), OK, "endorsed")
        return endorsed

    def newcomer(self, number):
        """Make its data directory and start it: it waits until somebody talks to it."""
        shutil.copy(self.path("genesis.onus"), self.home(number))
        made = run(program("onusd"), "--config", self.config(number), "--init")
        self.suite.code(made, OK, f"replica {number} is made")
        self.start(number)
        self.suite.check(self.said(number, " ready ", "member=none", "voting=no"),
                         "and follows without a vote")


def parameters(suite):
    service = Service(suite, "parameters").up()
    service.ready()
    service.change("a shorter pipeline", "--pipeline", 3)
    service.entered(2, 0, 1, 2, 3)
    service.executes("it goes on in configuration 2")
    service.chained(2, 0, 1, 2, 3)
    for replica in range(4):
        service.restarts(replica)
        service.executes(f"and does when replica {replica} has restarted")
    service.kill(*range(4))
    service.start(*range(4))
    service.executes("and after all were killed at once")
    suite.check(all(re.search(r" ready .*config=2 ", service.log_text(replica))
                    for replica in range(4)), "all of them start in configuration 2")
    service.chain_served(2, 0, 1, 2, 3)
    damage(suite, service)
    lose(suite, service)
    service.down()


def damage(suite, service):
    """What is wrong with the file of a chain is made good from the ledger."""
    whole = chains.content(service, 0)
    half = whole[:len(whole) // 2]
    wrong = {0: half, 1: half + bytes([half[-1] ^ 1]) + whole[len(half) + 1:], 2: whole + b"more",
             3: b"no chain at all"}
    for replica, content in wrong.items():
        service.kill(replica)
        with open(chains.path(service, replica), "wb") as file:
            file.write(content)
        service.start(replica)
        suite.check(service.said(replica, "chain was damaged"), f"replica {replica} sees that its "
                    "chain is damaged", service.log_text(replica)[-2000:])
    service.kill(1)
    os.remove(chains.path(service, 1))
    service.start(1)
    service.chained(2, 0, 1, 2, 3)
    service.chain_served(2, 0, 1, 2, 3)
    with chains.Asker(service, 0) as asker:
        asker.ask(1, 500)
        suite.check(asker.answer() == (2, chains.links(chains.content(service, 0))),
                    "who asks without end is answered now and then")
    suite.check(chains.ask(service, 0, 1)[0] == 2, "and so is everybody else")


def lose(suite, service):
    """A replica whose data is gone comes back: it follows from genesis, over the boundary."""
    service.kill(3)
    shutil.rmtree(os.path.join(service.home(3), "data"))
    suite.code(run(program("onusd"), "--config", service.config(3), "--lost"), OK,
               "a replica's data is lost")
    entered = service.log_text(3).count("entered a configuration")
    service.start(3)
    suite.check(wait_until(lambda: service.log_text(3).count("entered a configuration") > entered,
                           60), "it enters configuration 2 again", service.log_text(3)[-2000:])
    service.executes("while it goes on")
    suite.check(service.follows(0, 1, 2, 3), "and it has the ledger up to its end")
    service.chained(2, 0, 1, 2, 3)


def add(suite):
    service = Service(suite, "add").up()
    service.ready()
    credential = service.credential(4, 1)
    service.newcomer(4)
    service.change("a fifth replica", "--add-replica", credential)
    service.entered(2, 0, 1, 2, 3, 4)
    suite.check(service.said(4, "is part of the configuration", "place=4"),
                "the new one is part of it")
    service.executes("it goes on with five")
    service.chained(2, 0, 1, 2, 3, 4)
    service.chain_served(2, 0, 1, 2, 3, 4)
    service.kill(3)
    service.executes("the new one is needed, and there")
    service.restarts(4)
    service.executes("it has restarted, and is needed still")
    service.start(3)
    service.kill(0)
    service.executes("another one is back, and needed")
    service.kill(1, 2, 3, 4)


def replace(suite):
    service = Service(suite, "replace").up()
    service.ready()
    credential = service.credential(4, 2)
    service.newcomer(4)
    service.change("replica 2 is replaced", "--replace-replica", f"2={credential}")
    service.entered(2, 0, 1, 2, 3, 4)
    suite.check(service.said(2, "not part of the configuration any more"),
                "the one that was replaced says so")
    service.executes("it goes on with the other one")
    service.chained(2, 0, 1, 2, 3, 4)
    service.chain_served(2, 0, 2, 4)
    service.kill(2)
    service.executes("without the one that was replaced")
    service.kill(0)
    service.executes("the other one is needed, and there")
    service.restarts(4)
    service.executes("it has restarted, and is needed still")
    service.kill(1, 3, 4)


def reconfigure(suite):
    for scene in (parameters, add, replace):
        scene(suite)


if __name__ == "__main__":
    main(reconfigure)
