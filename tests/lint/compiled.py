#!/usr/bin/env python3
"""Print, NUL-separated, the C files to analyse: what the build compiles, less what it generates
and less the unit tests, whose Criterion macros expand to code that is not ours."""

import json
import os
import sys


def main(path):
    root = os.getcwd()
    files = set()
    for command in json.load(open(path, encoding="utf-8")):
        source = os.path.relpath(os.path.join(command["directory"], command["file"]), root)
        if source.startswith(("..", "build", os.path.join("tests", "unit"))):
            continue
        files.add(source)
    if not files:
        sys.exit(f"{path}: names no source file")
    # The largest first, so that no processor idles at the end.
    for source in sorted(files, key=os.path.getsize, reverse=True):
        print(source, end="\0")


if __name__ == "__main__":
    main(sys.argv[1])
