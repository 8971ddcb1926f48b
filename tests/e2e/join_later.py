#!/usr/bin/env python3
"""Replicas that join from a checkpoint of a later configuration than the founding one.

They have genesis and nothing else: their peers show them the governance chain, link by link, and
from there on they know who signs. One that governance has added comes up long after the vote, and
votes; a founding one that lost its disk follows. Both get the older ledger, over all boundaries.
"""

import os
import shutil

import chains
import harness
from harness import OK, Load, program, run
from join import BEGUN, JOINED, JOIN_S, LOAD, MEMORY, SMALL, OLDER_S, logged, lose, names, records, whole
from reconfigure import Service

HISTORY = 20000  # transactions, the accounts of the load among them
ASKS = "asking for its links"
TOOK = "took links of the governance chain"
NONE = "no checkpoint to join from"
LATER = "joining among the replicas of a later configuration"


def load(service, title):
    """So many batches that a checkpoint of this configuration is offered."""
    before = service.committed()
    bench = Load(service, *LOAD)
    service.suite.check(harness.wait_until(lambda: service.committed() > before + HISTORY, 120),
                        f"{title}: transactions", service.status()[0])
    bench.finish(f"{title}: each request has its receipt")


def joins(service, replica, config, title, since):
    suite = service.suite
    suite.check(harness.wait_until(lambda: logged(service, replica, JOINED, since), JOIN_S),
                f"{title}: it joins from a checkpoint", service.log_text(replica)[since:][:4000])
    for what in (ASKS, TOOK, LATER, BEGUN):
        suite.check(logged(service, replica, what, since), f"{title}: its log says: {what}")
    suite.check(service.said(replica, " ready ", f"config={config} "),
                f"{title}: it starts in configuration {config}",
                service.log_text(replica)[since:][-4000:])


def becomes_whole(service, replica, config, title, since):
    suite = service.suite
    suite.check(harness.wait_until(lambda: whole(service, replica, since), OLDER_S),
                f"{title}: the older ledger comes", service.log_text(replica)[since:][-4000:])
    first, ours = records(service.ledger(replica))
    theirs = records(service.ledger(0))[1]
    size = min(len(ours), len(theirs))
    suite.check(first == 0 and size > 0 and ours[:size] == theirs[:size],
                f"{title}: its ledger is that of the others, from genesis on", first)
    service.chained(config, 0, replica)
    service.chain_served(config, replica)


def newcomer(service):
    """Its credential was voted in long ago; now it is made, and started for the first time."""
    suite = service.suite
    shutil.copy(service.path("genesis.onus"), service.home(4))
    made = run(program("onusd"), "--config", service.config(4), "--init")
    suite.code(made, OK, "the newcomer is made")
    service.start(4)
    joins(service, 4, 3, "newcomer", 0)
    suite.check(service.said(4, " ready ", "config=3 ", "voting=yes"), "newcomer: it votes",
                service.log_text(4)[-3000:])
    service.executes("newcomer: the service goes on")
    service.kill(1)
    service.executes("newcomer: its vote is needed, and there")
    service.restarts(4)
    service.executes("newcomer: it has restarted, and is needed still")
    service.start(1)
    becomes_whole(service, 4, 3, "newcomer", 0)
    service.restarts(4)
    service.kill(2)
    service.executes("newcomer: whole and restarted, it is needed still")
    service.start(2)
    suite.check(service.follows(0, 1, 2, 3), "all of them follow", service.status()[0])


def lost(service):
    """A founding replica knows genesis and its own key, and nobody who came since."""
    suite = service.suite
    since = len(service.log_text(3))
    lose(suite, service, 3)
    service.start(3)
    joins(service, 3, 3, "lost", since)
    suite.check(service.follows(3, timeout=JOIN_S), "lost: it follows", service.status()[0])
    suite.check(service.replica_status(3).get("voting") is False, "lost: it does not vote",
                service.replica_status(3))
    service.restarts(3)
    suite.check(service.follows(3), "lost: restarted, it follows", service.status()[0])
    becomes_whole(service, 3, 3, "lost", since)


def given_a_chain(service):
    """Who has the chain of a client's context needs no peer to show it; and what is in the offer's
    way is named."""
    suite = service.suite
    lose(suite, service, 3)
    shutil.copy(os.path.join(service.context, "chain"), chains.path(service, 3))
    since = len(service.log_text(3))
    service.start(3)
    suite.check(harness.wait_until(lambda: logged(service, 3, JOINED, since), JOIN_S),
                "with a chain beside it: it joins", service.log_text(3)[since:][-4000:])
    suite.check(logged(service, 3, LATER, since) and not logged(service, 3, ASKS, since),
                "with a chain beside it: it asks for no links", service.log_text(3)[since:])
    suite.check(harness.wait_until(lambda: names(service, 3, "older") is not None or
                                   whole(service, 3, since)), "it has joined")
    suite.check(harness.wait_until(lambda: whole(service, 3, since), OLDER_S),
                "and has the older ledger", service.log_text(3)[since:][-4000:])


def without_an_offer(service):
    """All that could be offered was in memory of processes that are gone: it takes the longer way,
    from genesis on, with those of the founding replicas that are still in office."""
    suite = service.suite
    for replica in (0, 1, 2, 4):
        service.restarts(replica)
    lose(suite, service, 3)
    shutil.copy(chains.path(service, 0), chains.path(service, 3))
    since = len(service.log_text(3))
    service.start(3)
    suite.check(harness.wait_until(lambda: logged(service, 3, NONE, since), 60),
                "without an offer: it gives up after a while", service.log_text(3)[since:][-4000:])
    suite.check(logged(service, 3, LATER, since) and not logged(service, 3, BEGUN, since),
                "without an offer: it had asked those in office", service.log_text(3)[since:])
    suite.check(service.follows(3, timeout=OLDER_S), "without an offer: it follows from genesis",
                service.log_text(3)[since:][-4000:])
    service.chained(3, 0, 3)


def changes_on(service):
    """The next change finds them all in office."""
    suite = service.suite
    service.change("a longer pipeline", "--pipeline", 4)
    service.entered(4, 0, 1, 2, 3, 4)
    service.executes("it goes on in configuration 4, and needs the newcomer, since the lost one is mute")
    service.chained(4, 0, 1, 2, 3, 4)
    suite.check(service.follows(0, 1, 2, 3), "all of them follow", service.status()[0])


def join_later(suite):
    service = Service(suite, "later", options=SMALL).up()
    service.ready()
    load(service, "configuration 1")
    service.change("a shorter pipeline", "--pipeline", 3)
    service.entered(2, 0, 1, 2, 3)
    load(service, "configuration 2")
    credential = service.credential(4, 1)
    service.change("a fifth replica", "--add-replica", credential)
    service.entered(3, 0, 1, 2, 3)
    load(service, "configuration 3")
    newcomer(service)
    lost(service)
    given_a_chain(service)
    without_an_offer(service)
    changes_on(service)
    service.kill(*range(5))
    for replica in (3, 4):
        suite.code(service.audit(replica), OK, f"the audit of the ledger of {replica} is clean")


if __name__ == "__main__":
    harness.main(join_later, place=MEMORY if os.access(MEMORY, os.W_OK) else None)
