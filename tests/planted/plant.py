#!/usr/bin/env python3
"""Plant the bugs of bugs.toml into a copy of one source, behind the switch of planted.h; or write
down their names as C.

usage: plant.py BUGS SOURCE_ROOT FILE... OUT   one of FILE..., all those that have bugs, into OUT
       plant.py BUGS --names OUT

The list is kept in step with the code: an expression that does not occur exactly once in the
function that the list names is an error, and so is a list that names other files than the build.
"""

import re
import sys
import tomllib


def read(path):
    with open(path, "rb") as file:
        bugs = tomllib.load(file)["bug"]
    names = [bug["name"] for bug in bugs]
    for name in names:
        if names.count(name) != 1:
            sys.exit(f"{path}: {name} is there twice")
    return bugs


def function_of(text, name, complain):
    """Where in the file a function's definition stands, in the style of the house: its first line
    begins with a type, its last is a brace at the line's beginning."""
    spans = []
    for head in re.finditer(rf"^[a-z].*\b{name}\(", text, re.M):
        opens = re.compile("[;{]").search(text, head.end())
        if opens is not None and opens.group() == "{":
            spans.append((head.start(), text.index("\n}\n", opens.start())))
    if len(spans) != 1:
        complain(f"{len(spans)} definitions of {name}()")
    return spans[0]


def spaced(text):
    """A pattern for code, whatever its line breaks."""
    return r"\s+".join(re.escape(word) for word in text.split())


def only(text, start, end, wanted, complain):
    found = list(re.finditer(spaced(wanted), text[start:end]))
    if len(found) != 1:
        complain(f"{len(found)} times in its place: {wanted}")
    return start + found[0].start(), start + found[0].end()


def changes_of(bugs, path, text):
    """Each place with what the bugs make of it: {(start, end): [(number, wrong), ...]}."""
    places = {}
    for number, bug in enumerate(bugs, 1):
        for change in bug["change"]:
            if change["file"] != path:
                continue

            def complain(what, bug=bug):
                sys.exit(f"planted bug {bug['name']}: {path}: {what}")

            start, end = function_of(text, change["function"], complain)
            if "inside" in change:
                start, end = only(text, start, end, change["inside"], complain)
            place = only(text, start, end, change["right"], complain)
            for other in places:
                if other != place and other[0] < place[1] and place[0] < other[1]:
                    complain(f"overlaps another bug: {change['right']}")
            places.setdefault(place, []).append((number, " ".join(change["wrong"].split())))
    return places


def switched(right, wrongs):
    is_statement = right.endswith((";", "}"))
    out = right if is_statement else f"({right})"
    for number, wrong in wrongs:
        if is_statement:
            out = f"if (planted_bug == {number}) {{ {wrong} }} else {{ {out} }}"
        else:
            out = f"(planted_bug == {number} ? ({wrong}) : {out})"
    return out


def plant(bugs, root, path):
    with open(f"{root}/{path}", encoding="utf-8") as file:
        text = file.read()
    places = changes_of(bugs, path, text)
    for (start, end), wrongs in sorted(places.items(), reverse=True):
        text = text[:start] + switched(text[start:end], wrongs) + text[end:]
    return f'#include "tests/planted/planted.h"\n#line 1 "{path}"\n{text}'


def is_auditors(bug):
    """Is it the auditor's and not a replica's? None is both."""
    found = {change["file"].startswith("audit-tool/") for change in bug["change"]}
    if len(found) != 1:
        sys.exit(f"planted bug {bug['name']}: of a replica and of the auditor")
    return found.pop()


def names(bugs):
    lines = "".join(f'    {{"{bug["name"]}", {str(is_auditors(bug)).lower()}}},\n' for bug in bugs)
    return (f'#include "tests/planted/planted.h"\n\n'
            f"const struct planted planted_bugs[] = {{\n{lines}}};\n"
            f"const unsigned planted_count = {len(bugs)};\n")


def main(arguments):
    if len(arguments) < 3:
        sys.exit(__doc__)
    bugs = read(arguments[0])
    if arguments[1] == "--names":
        text = names(bugs)
    else:
        root, path, built = arguments[1], arguments[2], set(arguments[2:-1])
        named = {change["file"] for bug in bugs for change in bug["change"]}
        if named != built:
            sys.exit(f"planted bugs: meson.build and bugs.toml differ in {named ^ built}")
        text = plant(bugs, root, path)
    with open(arguments[-1], "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
