#!/usr/bin/env python3
"""What a replica holds in memory does not follow the length of its ledger."""

import time

import harness
from harness import OK, Sandbox, finish

LINES = 120000
BUNDLE = 128
LOADED_MAX_KIB = 300 << 10
GROWTH_MAX_KIB = 48 << 10


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def load(suite, sandbox, first, count):
    # The same few keys again and again: the state stays small, the ledger grows.
    lines = [["kv.put", f"key-{n % 1000}", f"value-{n}"] for n in range(first, first + count)]
    started = time.monotonic()
    suite.code(finish(sandbox.load(lines, "--bundle", BUNDLE), 120), OK,
               f"{count} transactions are loaded")
    print(f"# {count / (time.monotonic() - started):.0f} transactions a second")


def memory(suite):
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    load(suite, sandbox, 0, LINES // 2)
    halfway = {replica: rss_kib(pid) for replica, pid in sandbox.pids().items()}
    load(suite, sandbox, LINES // 2, LINES // 2)
    loaded = {replica: rss_kib(pid) for replica, pid in sandbox.pids().items()}
    print(f"# KiB halfway {halfway}, at the end {loaded}")
    suite.check(max(loaded.values()) < LOADED_MAX_KIB,
                "every replica stays under 300 MiB", f"KiB: {loaded}")
    growth = max(loaded[replica] - halfway[replica] for replica in loaded)
    suite.check(growth < GROWTH_MAX_KIB, "the second half of the load costs no more memory",
                f"{growth} KiB: {halfway} halfway, {loaded} at the end")
    sandbox.down()


if __name__ == "__main__":
    harness.main(memory)
