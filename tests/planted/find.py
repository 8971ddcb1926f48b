#!/usr/bin/env python3
"""Does the simulator find the planted bugs? For each bug of bugs.toml the seeds from 1 on are run
with it, until one fails that does not fail without it; or the story that bugs.toml names.

usage: find.py [--seeds-max N] [--jobs J] [--record] [--quick] [--table FILE] [--stories STORIES]
               PROGRAM [NAME...]
       find.py --table FILE | --check-table FILE

  PROGRAM             onus-sim-planted
  --stories STORIES   stories-planted; without it bugs that a story finds are passed over
  --seeds-max N       as many seeds for each bug before it counts as not found; default 2000
  --jobs J            seeds at a time; default 1
  --record            write what was found down in bugs.toml
  --quick             only bugs that a story finds, or the first seed found when it was recorded,
                      and no more than 60 seeds for each
  --table FILE        write what bugs.toml says as a table for people, after the run if there is one
  --check-table FILE  is that what the table says?

exit codes: 0 every bug was found; 1 some were not; 2 usage
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time
import tomllib

LIST = pathlib.Path(__file__).with_name("bugs.toml")
CHUNK_MAX = 40        # so many seeds at a time; fewer at the beginning, for most are found soon
QUICK_SEED_MAX = 1    # --quick: bugs that the first seed found are found by many
QUICK_SEEDS_MAX = 60  # and by one of these, whatever else has changed

# What the judge says, and which of its invariants that is (docs/testing.md, "What is checked").
INVARIANTS = [
    ("Core's own", r"invariant broken|gave out disk position|cannot go on|cuts \d+ entries"),
    ("One vote", r"is not the one that it said before|was used before"),
    ("Order", r"comes after a view-change|states less than its nonces"),
    ("Durability", r"leaves before|leaves without|too far beyond|ends in order|"
                   r"may have forgotten|disk does not hold"),
    ("Guard", r"in spite of the guard|votes on, and lacks"),
    ("No false alarm", r"will not vote any more|distrusts"),
    ("Settled", r"is not that of the others|are settled|has settled"),
    ("Agreement", r"not the one committed in view|committed another|committed batch"),
    ("State", r"two states|cannot be made|replay from genesis|cannot recover|cannot be read|"
              r"two checkpoints"),
    ("Accountability", r"the audit|would be blamed"),
    ("Configurations", r"configuration \d+, batch"),
    ("Linearizability", r"executed twice|had its receipt before|not where its receipt|"
                        r"its window|is not in the ledger"),
    ("Receipts", r"receipt.* does not verify|two different receipts|no receipt in the ledger"),
    ("Liveness", r"not all requests have|is not decided|not level|view goes on|and no end|"
                 r"no end after|out of memory|signal (9|14)$"),
    ("Well-formed", r"does not decode|cannot be encoded|nobody asked|to a client"),
]


def invariant(reason):
    for name, pattern in INVARIANTS:
        if re.search(pattern, reason):
            return name
    return "?"


def failing(options, name, seeds, more):
    """The seeds that fail of (first, count), in order, each with why."""
    ran = subprocess.run([options.program, "--planted", name, "--seed", str(seeds[0]),
                          "--seeds", str(seeds[1]), "--jobs", str(options.jobs), *more],
                         capture_output=True, text=True, errors="replace", check=False)
    if ran.returncode not in (0, 1) or " seeds, " not in ran.stdout:
        sys.exit(f"find: {name}: {ran.stdout}{ran.stderr}")
    found = re.findall(r"^seed (\d+) FAILED$.*?^  reason: (?:[\d.]+ ms: )?(.*?)$", ran.stdout,
                       re.M | re.S)
    return dict(sorted((int(seed), reason) for seed, reason in found))


class Search:
    def __init__(self, options):
        self.options = options
        self.innocent = {}  # does a seed pass without any bug?

    def chunk(self, name, seeds, more):
        """As failing(), less the seeds that fail without the bug, too."""
        found = failing(self.options, name, seeds, more)
        for seed in found:
            key = (seed, *more)
            if key not in self.innocent:
                self.innocent[key] = not failing(self.options, "none", (seed, 1), more)
                if not self.innocent[key]:
                    print(f"find: seed {seed} fails without a bug, too", file=sys.stderr)
        return {seed: why for seed, why in found.items() if self.innocent[(seed, *more)]}

    def search(self, bug, most):
        """What the first seeds that fail, of a few, are, and why; empty: none does."""
        first, count = 1, 2
        while first <= most:
            found = self.chunk(bug["name"], (first, min(count, most + 1 - first)),
                               bug.get("options", "").split())
            if found:
                return found
            first, count = first + count, min(2 * count, CHUNK_MAX)
        return {}


def tell(options, name, story):
    """Does the story come to a bad end with this bug?"""
    ran = subprocess.run([options.stories, "--filter", "*/" + story],
                         env={**os.environ, "ONUS_PLANTED": name},
                         capture_output=True, text=True, errors="replace", check=False)
    told = ran.stdout + ran.stderr
    if ran.returncode not in (0, 1) or "Tested: 1 " not in told:
        sys.exit(f"find: {name}: the story {story}: {told}")
    return ran.returncode == 1


def story_finds(options, bug):
    if tell(options, "none", bug["story"]):
        print(f"find: the story {bug['story']} fails without a bug, too", file=sys.stderr)
        return False
    return tell(options, bug["name"], bug["story"])


def quoted(text):
    return '"' + text.replace("\\", "/").replace('"', "'") + '"'


def record(name, found):
    text = LIST.read_text(encoding="utf-8")
    begin = text.index(f'name = "{name}"\n')
    end = text.find("\n[[bug]]", begin)
    end = len(text) if end < 0 else end
    entry = re.sub(r"^(seed|by|says) = .*\n", "", text[begin:end], flags=re.M)
    if found:
        seed, reason = next(iter(found.items()))
        reason = re.sub(r"(\.\./)\S*?/((consensus|ledger|execution)/)", r"\2", reason)
        lines = f"seed = {seed}\nsays = {quoted(reason)}\n"
        at = entry.index("[[bug.change]]")
        entry = entry[:at] + lines + entry[at:]
    LIST.write_text(text[:begin] + entry + text[end:], encoding="utf-8")


# ---- the table ----

HEAD = """# The planted bugs

A simulator that finds nothing may be blind. Each of these bugs breaks one rule of
[protocol.md](protocol.md) (the § in front), in a copy of the sources and behind a switch that only
`onus-sim-planted` has. The simulator then runs seeds 1, 2, 3, … with it until its judge objects. See
[testing.md](testing.md#does-it-find-anything).

- *seeds*: how many it took; the last of them is the one that fails, and does not without the bug. Where it takes
  more to come there than seeds have patience for, a story (`tests/scenarios/`) leads to it,
  and fails with the bug and not without.
- *by*: the judge's invariant that was broken first (testing.md, "What is checked"); *Core's own* are the
  assertions in the replica's code.

"""

FOOT = """
This page is written by

    ./dev build && python3 tests/planted/find.py --record --table docs/planted-bugs.md \\
        --stories build/tests/planted/stories-planted build/tests/planted/onus-sim-planted

from `tests/planted/bugs.toml`, which has the bugs as they are planted, line for line. The numbers hold for
one state of the simulator: whatever draws from a run's random numbers shifts them. `./dev test` looks
again for those that a story finds, or the first seed found, and fails when it does not find one of them.
"""


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def files_of(bug):
    return ", ".join(f"`{file}`" for file in sorted({change["file"] for change in bug["change"]}))


def seeds_of(bug):
    if "story" in bug:
        return f"`{bug['story']}`"
    told = f" with `{bug['options']}`" if "options" in bug else ""
    return f"{bug['seed']}{told}" if "seed" in bug else "**not found**"


def rows_found(bugs):
    rows = [row(["", "bug", "rule that it breaks", "in", "seeds", "by", "what the judge says"]),
            row(["---"] * 7)]
    for number, bug in enumerate((bug for bug in bugs if "why" not in bug), 1):
        rows.append(row([number, f"`{bug['name']}`", bug["rule"], files_of(bug),
                         seeds_of(bug), invariant(bug["says"]) if "says" in bug else "",
                         bug.get("says", "")]))
    return rows


def rows_else(bugs):
    rows = [row(["bug", "rule that it breaks", "in", "why the simulator does not, and what does"]),
            row(["---"] * 4)]
    rows += [row([f"`{bug['name']}`", bug["rule"], files_of(bug), bug["why"]])
             for bug in bugs if "why" in bug]
    return rows if len(rows) > 2 else []


def table(bugs):
    seeds = sorted(bug["seed"] for bug in bugs if "seed" in bug and "why" not in bug)
    few = sum(seed <= 10 for seed in seeds)
    told = sum("story" in bug for bug in bugs)
    missed = sum(not {"seed", "why", "story"} & bug.keys() for bug in bugs)
    text = HEAD + (f"{len(seeds) + told} bugs are found, {few} of them by one of the first ten "
                   f"seeds, and {told} by stories; {missed} are not.\n\n") + "\n".join(rows_found(bugs)) + "\n"
    others = rows_else(bugs)
    if others:
        text += ("\n## What the simulator is not asked for\n\nFor each of these it says why, "
                 "and what finds it instead; those marked open are holes to close.\n\n"
                 + "\n".join(others) + "\n")
    return text + FOOT


# ---- the program ----

def read():
    return tomllib.loads(LIST.read_text(encoding="utf-8"))["bug"]


def chosen(bugs, options, parser):
    unknown = set(options.names) - {bug["name"] for bug in bugs}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    bugs = [bug for bug in bugs
            if bug["name"] in options.names or (not options.names and "why" not in bug)]
    if options.stories is None:
        bugs = [bug for bug in bugs if "story" not in bug]
    if options.quick:
        bugs = [bug for bug in bugs
                if "story" in bug or bug.get("seed", options.seeds_max) <= QUICK_SEED_MAX]
        if not bugs:
            parser.error("no bug of these is one for --quick")
    return bugs


def run(bugs, options):
    began = time.monotonic()
    search = Search(options)
    missed = []
    for bug in bugs:
        if "story" in bug:
            is_found = story_finds(options, bug)
            print(f"{bug['name']}: {bug['story'] if is_found else 'NOT FOUND'}", flush=True)
            missed += [] if is_found else [bug["name"]]
            continue
        found = search.search(bug, QUICK_SEEDS_MAX if options.quick else options.seeds_max)
        if found:
            seed, reason = next(iter(found.items()))
            print(f"{bug['name']}: seed {seed}: {invariant(reason)}: {reason}",
                  flush=True)
        else:
            missed.append(bug["name"])
            print(f"{bug['name']}: NOT FOUND", flush=True)
        if options.record:
            record(bug["name"], found)
    print(f"{len(bugs)} bugs, {len(missed)} not found, {time.monotonic() - began:.0f} s",
          *missed)
    return 1 if missed else 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program", nargs="?")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds-max", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stories")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--check-table", type=pathlib.Path)
    options = parser.parse_args()
    if options.program is None and options.table is None and options.check_table is None:
        parser.error("no program")
    status = 0
    if options.program is not None:
        status = run(chosen(read(), options, parser), options)
    if options.table is not None:
        options.table.write_text(table(read()), encoding="utf-8")
    if options.check_table is not None:
        if options.check_table.read_text(encoding="utf-8") != table(read()):
            print(f"find: {options.check_table} is not what {LIST.name} says: write it again")
            return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
