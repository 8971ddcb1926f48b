#!/usr/bin/env python3
"""Networks that misbehave: links between replicas are cut, held, slowed, throttled and scrambled.

All of it happens under load, on real TLS links that go through a proxy. The service goes on
wherever a quorum can talk, waits where none can, and is whole again when the links are; in the end
the auditor finds no fault with anybody, and no receipt is lost.
"""

import os
import random
import time

import harness
from harness import OK, UNREACHABLE, Load, Meter, Sandbox
from proxy import Proxy

SEED = 20261122
LONG = bool(os.environ.get("ONUS_E2E_LONG"))
EPISODE_S = 10.0 if LONG else 1.5
FLAPS = 200 if LONG else 24
FLAP_S = 0.1
SETTLE_S = 30
LOAD = ("--clients", 8, "--bundle", 8)


class Story:
    """A sandbox behind a proxy, under load."""

    def __init__(self, suite):
        self.suite = suite
        self.random = random.Random(SEED)
        self.sandbox = Sandbox(suite).up()
        self.sandbox.down()
        self.proxy = Proxy(self.sandbox, SEED)
        self.sandbox.start(*range(4))
        suite.code(self.sandbox.ready(), OK, "the service commits through the proxy")
        reached = harness.wait_until(lambda: all(link.calls for link in self.proxy.links.values()))
        suite.check(reached, "which knows whose each link is")

    def healed(self, title):
        """All links as they were: everybody comes along, and may vote."""
        self.proxy.heal()
        whole = self.sandbox.follows(*range(4)) and self.sandbox.voting(*range(4))
        self.suite.check(whole, f"{title}: healed, all follow", self.sandbox.status()[0])

    def backup(self):
        primary = self.sandbox.primary()
        return self.random.choice([replica for replica in range(4) if replica != primary])


def goes_on(story, title, seconds=EPISODE_S):
    """Three ledgers grow for a while. Where the machine's noise made them change the view, later."""
    def growing():
        now = time.monotonic()
        return {replica: meter.rate(replica, now - seconds, now) for replica in range(4)}

    with Meter(story.sandbox) as meter:
        time.sleep(seconds)
        going = harness.wait_until(lambda: sum(rate > 0 for rate in growing().values()) >= 3,
                                   SETTLE_S)
        rates = growing()
    story.suite.check(going, f"{title}: the load goes on",
                      [f"replica {r}: {rate:.0f} B/s" for r, rate in rates.items()]
                      + [story.sandbox.status()[0]])


def slow(story):
    """Delays differ from link to link, and so messages of different replicas change places."""
    proxy = story.proxy
    proxy.delay(proxy.between(), 0.005, jitter=0.03)
    goes_on(story, "every message late, by up to 35 ms")
    proxy.heal()
    proxy.throttle(proxy.around(story.backup()), 50_000)
    goes_on(story, "the links of a backup carry 50 kB/s")
    story.healed("slow links")


def cut_off(story):
    proxy, sandbox = story.proxy, story.sandbox
    away = story.backup()
    proxy.cut(proxy.around(away))
    goes_on(story, "a backup is cut off")
    story.healed("a backup cut off")
    away = story.backup()
    proxy.hold(proxy.around(away))
    goes_on(story, "the cable of a backup is out")
    story.healed("a cable out")
    away = story.backup()
    proxy.cut(proxy.between(source=away))
    goes_on(story, "nobody hears a backup, which hears everybody")
    story.healed("a backup without a voice")
    away = story.backup()
    proxy.cut(proxy.between(destination=away))
    goes_on(story, "a backup hears nobody, and all hear it")
    story.healed("a deaf backup")
    # Two and two: no side has a quorum.
    pair = (0, story.random.randrange(1, 4))
    rest = tuple(replica for replica in range(4) if replica not in pair)
    proxy.cut(proxy.between(pair, rest) + proxy.between(rest, pair))
    time.sleep(0.3)  # what was under way arrives
    result = sandbox.onus("--timeout", 2, "submit", "kv.put", "link", "split")
    story.suite.code(result, UNREACHABLE, "split two and two, nothing commits")
    proxy.heal()
    story.sandbox.commits("until the halves meet again")
    story.healed("split two and two")


def flapping(story):
    proxy = story.proxy
    links = proxy.between()
    for _ in range(FLAPS):
        proxy.cut([story.random.choice(links)])
        proxy.heal(story.random.sample(links, 6))
        time.sleep(FLAP_S)
    story.healed(f"{FLAPS} links cut, one after the other")
    story.sandbox.commits("and the service commits")


def scrambled(story):
    """Bytes in another order than they were sent: the link ends, and nothing of it is believed."""
    proxy = story.proxy
    links = proxy.between()
    before = {link: link.calls for link in links}
    proxy.scramble(links)
    again = harness.wait_until(
        lambda: all(link.scrambles and link.calls > before[link] for link in links), SETTLE_S)
    story.suite.check(again, "a link that mixes up its bytes is closed, and called again",
                      [f"{link.source} to {link.destination}: scrambled {link.scrambles}, "
                       f"called {link.calls - before[link]}" for link in links])
    story.healed("scrambled links")
    story.sandbox.commits("scrambled links: the service commits")


def primary_cut_off(story):
    """Clients reach the primary, but nobody else does: another takes its place."""
    proxy = story.proxy
    old = story.sandbox.primary()
    proxy.cut(proxy.around(old))
    story.sandbox.commits("the primary is cut off: another one serves")
    story.healed("the primary cut off")
    story.suite.check(story.sandbox.primary() != old, "and it is no longer the primary")


def links(suite):
    story = Story(suite)
    sandbox, proxy = story.sandbox, story.proxy
    try:
        load = Load(sandbox, *LOAD)
        suite.check(load.begun(), "a load is under way")
        held = sandbox.receipts()
        for chapter in (slow, cut_off, flapping, scrambled, primary_cut_off):
            started = time.monotonic()
            chapter(story)
            print(f"# {chapter.__name__}: {time.monotonic() - started:.1f} s")
        load.finish("all of it under load, every request of which has its receipt")
        suite.check(harness.wait_until(sandbox.level, SETTLE_S), "all are level",
                    sandbox.status()[0])
    finally:
        proxy.close()
    sandbox.down()
    suite.check(held <= sandbox.receipts(), "no receipt is lost")
    suite.code(sandbox.audit(), OK, "and the audit is clean")


if __name__ == "__main__":
    harness.main(links)
