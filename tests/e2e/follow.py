#!/usr/bin/env python3
"""Clients follow the consortium without being told anything.

A load goes on across two votes and loses no receipt. A client that was away over both catches up
from what it knew, talks to the replica that came, and gets the receipt of what it sent before. What
it learned is in a file of its context, which is told when it is damaged, and fetched again.
"""

import copy
import os
import shutil

import chains
from harness import INVALID, OK, Load, main, wait_until
from reconfigure import Service

PROGRESS = 2000  # transactions: many times what a load has in flight


def beside(service, name):
    """The same service, seen from another context that knows what this one knows now."""
    other = copy.copy(service)
    other.context = service.path(name)
    shutil.copytree(service.context, other.context)
    return other


def chain_of(service):
    return os.path.join(service.context, "chain")


def knows(suite, service, configuration, replicas, title):
    result, status = service.status()
    good = result.code == OK and status is not None
    good = good and int(status["configuration"]) == configuration
    suite.check(good and len(status["replicas"]) == replicas, title, result)


def has_links(suite, service, count, title):
    with open(chain_of(service), "rb") as file:
        suite.check(len(chains.links(file.read())) == count, title)


def goes_on(suite, load, title):
    """Nobody else sends anything: each client of the load waits for a receipt before it goes on."""
    before = load.sandbox.committed()
    suite.check(wait_until(lambda: load.sandbox.committed() > before + PROGRESS, 60) and
                load.process.poll() is None, title, load.sandbox.status()[0])


def send_early(suite, service):
    """Sent, and executed, before anything changes; the client does not wait for its receipt."""
    before = service.committed()
    sent = service.onus("-o", "json", "submit", "--no-wait", "kv.put", "early", "1")
    suite.code(sent, OK, "a request is sent, and nobody waits")
    suite.check(wait_until(lambda: service.committed() > before), "it is executed")
    return sent.json()["tx"]


def votes(suite):
    service = Service(suite, "votes").up()
    service.ready()
    working, away = beside(service, "working"), beside(service, "away")
    transaction = send_early(suite, away)
    load = Load(working)
    suite.check(load.begun(), "a load is under way")
    service.change("a shorter pipeline", "--pipeline", 3)
    service.entered(2, 0, 1, 2, 3)
    goes_on(suite, load, "it goes on in configuration 2")
    service.commits("a client gets its receipt in configuration 2")
    knows(suite, service, 2, 4, "it knows where it is")
    has_links(suite, service, 1, "and keeps the link that led there")
    credential = service.credential(4, 1)
    service.newcomer(4)
    service.change("a fifth replica", "--add-replica", credential)
    service.entered(3, 0, 1, 2, 3, 4)
    goes_on(suite, load, "the load goes on in configuration 3")
    service.commits("and so does the client")
    load.finish("the load has lost no receipt")
    has_links(suite, working, 2, "it has kept both links")
    was_away(suite, service, away, transaction)
    damage(suite, away)
    service.kill(1, 2, 3, 4)


def was_away(suite, service, away, transaction):
    suite.check(not os.path.exists(chain_of(away)), "a client was away")
    fetched = away.onus("receipt", "get", transaction)
    suite.code(fetched, OK, "it gets the receipt of what it sent in configuration 1")
    knows(suite, away, 3, 5, "and knows configuration 3")
    away.commits("it gets receipts there")
    service.kill(0)
    away.commits("the replica that came is needed, and answers")


def damage(suite, client):
    path = chain_of(client)
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(whole[:-1])
    suite.says(client.onus("status"), INVALID, "a damaged chain is told", path, "remove the file")
    os.remove(path)
    client.onus("status")
    has_links(suite, client, 2, "it is fetched again")
    client.commits("and all is well")


if __name__ == "__main__":
    main(votes)
