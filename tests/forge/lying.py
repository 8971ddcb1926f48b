#!/usr/bin/env python3
"""Make a copy of node/demand_service.c that lies to auditors: of what it reads in a later
configuration it leaves out the last entry, and it signs for that whatever its own judge says.

usage: lying.py SOURCE OUT

An expression that does not occur exactly once is an error.
"""

import sys

LIES = {
    "job->unsound = !judgement.failed && judgement.rule != RULE_NONE;": "job->unsound = false;",
    "if (!judgement.failed && judgement.rule == RULE_NONE) {": "if (!judgement.failed) {",
    "struct digest digests[2];":
        "struct digest digests[2];\n"
        "    job->piece.count -= job->range_config > 1 && job->piece.count > 1 ? 1 : 0;",
}


def main():
    source, out = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        text = file.read()
    for right, wrong in LIES.items():
        if text.count(right) != 1:
            sys.exit(f"{source}: {right!r} occurs {text.count(right)} times")
        text = text.replace(right, wrong)
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
