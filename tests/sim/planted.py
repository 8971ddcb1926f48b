#!/usr/bin/env python3
"""Does the simulator find what it is for? Each bug below is a rule of docs/protocol.md broken in one
line. For each, the one source file is changed in a copy, compiled as the build compiles it, linked
into an onus-sim of its own, and run from seed 1 on; within its budget of seeds a run must fail that
does not fail without the bug. Production code has no switch for any of this.

usage: planted.py SOURCE_ROOT BUILD_DIR [NAME...]
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

CHUNK = 20  # seeds tried at a time

# name, the rule (section of docs/protocol.md), file, the line, the line with the bug, seeds
BUGS = [
    ("nonce-before-durable", "§5: a nonce leaves when its batch and its record are durable",
     "consensus/vote.c",
     "uint64_t const after = reveal_after(replica, slot);",
     "uint64_t const after = 0;", 20),
    ("statement-before-view", "§5: nothing of a view leaves before its record is durable",
     "consensus/view_change.c",
     """effect_send_all(replica, MESSAGE_VIEW_CHANGE, effect_keep(replica, buffer_span(&own->bytes)),
                    replica->sign_position);""",
     """effect_send_all(replica, MESSAGE_VIEW_CHANGE, effect_keep(replica, buffer_span(&own->bytes)),
                    0);""", 60),
    ("votes-outrun-disk", "§5: no vote more than P batches beyond what is durable",
     "consensus/signing.c",
     "return !is_barred && seq <= replica->durable_seq + replica->configuration->parameters.pipeline;",
     "return !is_barred;", 400),
    ("votes-after-a-crash", "§5: what may have been signed before a crash is not signed again",
     "consensus/signing.c",
     "bool const is_barred = view <= replica->barred_view && seq <= replica->barred_seq;\n"
     "    return !is_barred &&",
     "return", 400),
    ("nonce-before-anchor", "§6: no nonce before all that the view took over is prepared",
     "consensus/vote.c",
     "replica->held || !has_anchor(replica) ||", "false ||", 400),
    ("lowest-rank-chosen", "§6: the highest rank is chosen",
     "ledger/view.c",
     "if (rank_compare(claims[i].rank, claims[chosen].rank) > 0) {",
     "if (rank_compare(claims[i].rank, claims[chosen].rank) < 0) {", 60),
    ("sequence-before-view", "§6: ranks are compared view first",
     "ledger/view.c",
     "return a.view < b.view ? -1 : 1;", "return a.seq < b.seq ? -1 : 1;", 2000),
    ("another-batch-proposed", "§6: what a view takes over is proposed again as it was",
     "ledger/checker.c",
     "if (body->seq <= now->view_start && !is_carried(checker, body)) {",
     "if (body->seq > now->view_start && body->seq == 0) {", 400),
    ("views-mixed", "§5: votes of different views do not count together",
     "consensus/vote.c",
     "view != checker_position(replica->checker)->view || !slot_is_open(replica, seq)",
     "!slot_is_open(replica, seq)", 60),
    ("quorum-of-2f+1", "§1: a quorum is N - f",
     "governance/founding.c",
     "out->quorum = out->replica_count - out->faults_max;",
     "out->quorum = 2 * out->faults_max + 1;", 400),
    ("state-not-rolled-back", "§6: the state is taken back with the ledger",
     "consensus/execute.c",
     "engine_rollback(replica->engine, mark);\n    replica->executed_seq = seq;",
     "(void)mark;\n    replica->executed_seq = seq;", 60),
    ("executed-twice", "§5: a request executes at most once",
     "ledger/checker.c",
     "return RULE_REQUEST_DUPLICATE;", "return RULE_NONE;", 60),
    ("invented-certificate", "§6: a certificate holds the prepares of a quorum",
     "ledger/view.c",
     "judge_certificate(out, configuration, sink);", "true;", 2000),
    ("nobody-joins", "§6: a replica asks for a view when f + 1 others do",
     "consensus/view_change.c",
     "if (count > faulty_max(replica) && view > best) {",
     "if (count > REPLICAS_MAX && view > best) {", 400),
]


def compile_commands(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        return json.load(file)


def compile_copy(build, source, copy, directory):
    """The object of a changed copy, made as the build makes that of the source."""
    for entry in compile_commands(build):
        if os.path.realpath(os.path.join(entry["directory"], entry["file"])) != source:
            continue
        words = shlex.split(entry["command"])
        out = os.path.join(directory, "changed.o")
        words[words.index("-o") + 1] = out
        words[words.index("-c") + 1] = copy
        for flag in ("-MD", "-Werror"):
            words = [word for word in words if word != flag]
        for flag in ("-MQ", "-MF"):
            at = words.index(flag)
            del words[at : at + 2]
        words.append("-I" + os.path.dirname(source))
        subprocess.run(words, cwd=entry["directory"], check=True)
        return out
    sys.exit(f"planted: {source} is not compiled in {build}")


def link(build, changed, directory):
    """onus-sim with the changed object before the archives that hold the right one."""
    listed = subprocess.run(["ninja", "-C", build, "-t", "commands", "tests/sim/onus-sim"],
                            check=True, capture_output=True, text=True)
    words = shlex.split(listed.stdout.strip().splitlines()[-1])
    out = os.path.join(directory, "onus-sim")
    words[words.index("-o") + 1] = out
    first_archive = next(i for i, word in enumerate(words) if word.endswith(".a"))
    words.insert(first_archive, changed)
    subprocess.run(words, cwd=build, check=True)
    return out


def plant(root, build, bug, directory):
    _, _, path, right, wrong, _ = bug
    source = os.path.realpath(os.path.join(root, path))
    with open(source, encoding="utf-8") as file:
        text = file.read()
    if text.count(right) != 1:
        sys.exit(f"planted: {bug[0]}: {path} does not hold its line once:\n{right}")
    copy = os.path.join(directory, os.path.basename(path))
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(right, wrong))
    return link(build, compile_copy(build, source, copy, directory), directory)


def failing(program, first, count):
    """The seeds that fail, each with its reason."""
    ran = subprocess.run([program, "--seed", str(first), "--seeds", str(count), "--jobs", "2"],
                         capture_output=True, text=True, errors="replace", check=False)
    return re.findall(r"^seed (\d+) FAILED$.*?^  reason: (.*?)$", ran.stdout, re.M | re.S)


def search(bug, program, right):
    """Returns: the seed and what it found, or None."""
    budget = bug[5]
    for first in range(1, budget + 1, CHUNK):
        for seed, reason in sorted(failing(program, first, min(CHUNK, budget + 1 - first)),
                                   key=lambda found: int(found[0])):
            if not failing(right, int(seed), 1):
                return int(seed), reason
    return None


def main(root, build, names):
    unknown = set(names) - {bug[0] for bug in BUGS}
    if unknown:
        sys.exit(f"planted: no such bug: {', '.join(sorted(unknown))}")
    build = os.path.realpath(build)
    missed = 0
    for bug in BUGS:
        if names and bug[0] not in names:
            continue
        with tempfile.TemporaryDirectory() as directory:
            program = plant(root, build, bug, directory)
            found = search(bug, program, os.path.join(build, "tests/sim/onus-sim"))
        if found is None:
            missed += 1
            print(f"{bug[0]}: NOT FOUND in {bug[5]} seeds ({bug[1]})", flush=True)
        else:
            print(f"{bug[0]}: seed {found[0]} of {bug[5]}: {found[1]}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
