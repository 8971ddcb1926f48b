#!/usr/bin/env python3
"""The same seed gives the same run: the hashes of the traces agree."""

import subprocess
import sys

SEEDS = 12


def hashes(simulator, jobs):
    """What onus-sim prints for each seed: the hash of its trace."""
    command = [simulator, "--seed", "1", "--seeds", str(SEEDS), "--hash", "--jobs", jobs]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in result.stdout.splitlines() if line.startswith("seed ")]
    return {row[1]: row[2] for row in rows}


def main():
    first, second = (hashes(sys.argv[1], jobs) for jobs in ("1", "2"))
    if len(first) != SEEDS or len(set(first.values())) != SEEDS:
        sys.exit(f"{SEEDS} seeds should have as many hashes: {first}")
    if first != second:
        sys.exit("not the same run: seeds " +
                 ", ".join(seed for seed in first if first[seed] != second.get(seed)))


if __name__ == "__main__":
    main()
