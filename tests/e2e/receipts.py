#!/usr/bin/env python3
"""A receipt is worth its bytes: change one, cut it, ask for another service, and it is refused.

The replicas are stopped before anything is verified: no network is needed, and none is there.
"""

import concurrent.futures
import os
import random

import harness
from harness import ERROR, INVALID, OK, Sandbox, program, run

SEED = 20261122
JOBS = 2


def sampled_positions(size, rng):
    """All positions of a small file; of a larger one its ends and a sample."""
    if size <= 2048:
        return list(range(size))
    ends = list(range(512)) + list(range(size - 512, size))
    return sorted(set(ends + rng.sample(range(size), 1024)))


def refused_with_reason(result):
    """Exit 5, no word of validity, one line that says which check failed; never a crash. What states a
    configuration that nobody has heard of is not judged: exit 1."""
    told = (result.out + result.err).strip()
    judged = result.code == INVALID or (result.code == ERROR and "UNKNOWN" in result.out)
    return judged and "\nVALID" not in "\n" + result.out and told


def spoil_everywhere(suite, path, verify, title):
    """Flip one bit at every position, and verify each of the results."""
    rng = random.Random(SEED)
    with open(path, "rb") as file:
        original = file.read()
    positions = sampled_positions(len(original), rng)

    def spoiled(position):
        content = bytearray(original)
        content[position] ^= 1 << rng.randrange(8)
        name = os.path.join(suite.dir, f"spoiled-{position}-{os.path.basename(path)}")
        with open(name, "wb") as file:
            file.write(content)
        result = verify(name)
        os.remove(name)
        return None if refused_with_reason(result) else f"position {position}\n{result}"

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        wrong = [complaint for complaint in pool.map(spoiled, positions) if complaint]
    suite.check(not wrong,
                f"{title}: a flipped bit at {len(positions)} of {len(original)} positions: exit 5, "
                "with the check that failed", "\n".join(wrong[:5]))
    for length in (0, 1, 15, 16, 17, len(original) // 2, len(original) - 1):
        name = os.path.join(suite.dir, "cut-" + os.path.basename(path))
        with open(name, "wb") as file:
            file.write(original[:length])
        result = verify(name)
        suite.check(refused_with_reason(result), f"{title}: cut to {length} bytes: exit 5", result)
    with open(name, "wb") as file:
        file.write(original + b"\x00")
    suite.check(refused_with_reason(verify(name)), f"{title}: a byte too many: exit 5")


def worth(suite):
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    receipt = os.path.join(suite.dir, "put.receipt")
    result = sandbox.onus("-o", "json", "submit", "kv.put", "greeting", "hello", "--receipt",
                          receipt)
    suite.code(result, OK, "a transaction, with its receipt")
    again = os.path.join(suite.dir, "again.receipt")
    transaction = result.json()["tx"]
    suite.code(sandbox.onus("receipt", "get", transaction, "--receipt", again), OK, "it is kept")
    with open(receipt, "rb") as one, open(again, "rb") as two:
        suite.check(one.read() == two.read(), "and the same again")
    calls = b"".join(b'["kv.put","k%d","v"]\n' % number for number in range(100))
    bundled = os.path.join(suite.dir, "bundled.receipt")
    suite.code(sandbox.onus("submit", "--atomic", "-", "--receipt", bundled, stdin=calls), OK,
               "a request of a hundred calls")
    service = sandbox.service()
    sandbox.down()

    def verify(path):
        return sandbox.onus("receipt", "verify", path)

    suite.code(verify(receipt), OK, "it verifies while no replica runs")
    by_service = run(program("onus"), "receipt", "verify", "--service", service, "--genesis",
                     sandbox.path("genesis.onus"), receipt)
    suite.code(by_service, OK, "and by service id and genesis alone")
    other = Sandbox(suite, "other").up()
    other.down()
    elsewhere = run(program("onus"), "-C", other.context, "receipt", "verify", receipt)
    suite.code(elsewhere, INVALID, "it is no receipt of another service")
    wrong = sandbox.onus("receipt", "verify", "--service", "00" * 32, receipt)
    suite.code(wrong, INVALID, "nor of another service id")
    suite.code(sandbox.onus("receipt", "verify", receipt, bundled), OK, "several verify at once")
    spoil_everywhere(suite, receipt, verify, "receipt")


if __name__ == "__main__":
    harness.main(worth)
