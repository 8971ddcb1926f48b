#!/usr/bin/env python3
"""Does the simulator find the planted bugs? For each bug of bugs.toml, seeds are run with it from 1
on, until one fails that does not fail without it.

usage: find.py [--seeds-max N] [--quick] [--record] [--table FILE] PROGRAM [NAME...]

  PROGRAM        onus-sim-planted
  --seeds-max N  as many seeds for each bug before it counts as not found; default 400
  --quick        try the seed that bugs.toml has first, then no more than 25 others
  --record       write the seeds down in bugs.toml
  --table FILE   write all of it down as a table for people

exit codes: 0 every bug was found; 1 some were not; 2 usage
"""

import argparse
import pathlib
import re
import subprocess
import sys
import time
import tomllib

LIST = pathlib.Path(__file__).with_name("bugs.toml")
CHUNK_MAX = 20  # seeds run at a time; fewer at the beginning, for most bugs are found soon
QUICK_SEEDS = 25


def failing(program, name, first, count):
    """The lowest seed that fails, and why; or None."""
    ran = subprocess.run([program, "--planted", name, "--seed", str(first), "--seeds", str(count),
                          "--jobs", "2"],
                         capture_output=True, text=True, errors="replace", check=False)
    if ran.returncode not in (0, 1) or " seeds, " not in ran.stdout:
        sys.exit(f"find: {name}: {ran.stdout}{ran.stderr}")
    found = re.findall(r"^seed (\d+) FAILED$.*?^  reason: (?:[\d.]+ ms: )?(.*?)$", ran.stdout,
                       re.M | re.S)
    return min(((int(seed), reason) for seed, reason in found), default=None)


def chunks(bug, options):
    """The seeds to try, as (first, count)."""
    if options.quick:
        yield bug["seed"], 1
    most = QUICK_SEEDS if options.quick else options.seeds_max
    first, size = 1, 2
    while first <= most:
        size = min(size, CHUNK_MAX, most + 1 - first)
        yield first, size
        first, size = first + size, 2 * size


def search(program, bug, options):
    """The first seed that finds the bug, and what the judge says; or None."""
    for first, count in chunks(bug, options):
        end = first + count
        while first < end:
            found = failing(program, bug["name"], first, end - first)
            if found is None:
                break
            if failing(program, "none", found[0], 1) is None:
                return found
            print(f"find: seed {found[0]} fails without a bug, too", file=sys.stderr)
            first = found[0] + 1
    return None


def record(name, seed):
    text = LIST.read_text(encoding="utf-8")
    begin = text.index(f'name = "{name}"\n')
    end = text.find("\n[[bug]]", begin)
    end = len(text) if end < 0 else end
    entry = re.sub(r"^seed = .*\n", "", text[begin:end], flags=re.M)
    entry = re.sub(r"^(rule = .*\n)", rf"\1seed = {seed}\n", entry, count=1, flags=re.M)
    LIST.write_text(text[:begin] + entry + text[end:], encoding="utf-8")


def table(results, seconds):
    lines = ["| bug | rule that it breaks | seeds | what the judge says |", "|---|---|---|---|"]
    for bug, found in results:
        seed, reason = found or ("**not found**", "")
        lines.append(f"| `{bug['name']}` | {bug['rule']} | {seed} | {reason.replace('|', '/')} |")
    lines.append(f"\n{len(results)} bugs, {sum(found is None for _, found in results)} not found; "
                 f"{seconds / 60:.0f} min.\n")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds-max", type=int, default=400)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--table")
    options = parser.parse_args()
    bugs = tomllib.loads(LIST.read_text(encoding="utf-8"))["bug"]
    unknown = set(options.names) - {bug["name"] for bug in bugs}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    results = []
    for bug in bugs:
        if options.names and bug["name"] not in options.names:
            continue
        found = search(options.program, bug, options)
        results.append((bug, found))
        print(f"{bug['name']}: " + (f"seed {found[0]}: {found[1]}" if found else "NOT FOUND"),
              flush=True)
        if found and options.record:
            record(bug["name"], found[0])
    if options.table:
        pathlib.Path(options.table).write_text(table(results, time.monotonic() - began),
                                               encoding="utf-8")
    missed = sum(found is None for _, found in results)
    print(f"{len(results)} bugs, {missed} not found, {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
