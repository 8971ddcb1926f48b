#!/usr/bin/env python3
"""Print how many tests passed and failed, from the JUnit file that `meson test` leaves."""

import sys
import xml.etree.ElementTree as ElementTree


def main(path):
    passed = failed = 0
    for case in ElementTree.parse(path).iter("testcase"):
        verdicts = {child.tag for child in case}
        if verdicts & {"failure", "error"}:
            failed += 1
        elif "skipped" not in verdicts:
            passed += 1
    if passed + failed == 0:
        sys.exit(f"{path}: no test has run")
    print(passed, failed)


if __name__ == "__main__":
    main(sys.argv[1])
