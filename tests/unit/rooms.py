#!/usr/bin/env python3
"""Holds the plan of the house (docs/ARCHITECTURE.md).

  usage: rooms.py SOURCE_ROOT BUILD_ROOT

1. Includes point downward in the order of the rooms, and so does everything that is linked.
2. The rooms of the core read no clock, open no file or socket, start no thread and draw no
   randomness. Two nets, since either alone has holes: the system headers that a file includes,
   and the symbols that its object code takes from outside. Both are lists of what is allowed,
   so that something new has to be argued for here.
3. Only ledger/ sees protobuf: there is one codec.
4. Every unit test is built, and so will run.
5. Every file opens with a comment on its purpose, stays under FILE_LINES_MAX lines of at most
   COLUMNS_MAX columns, and carries no marker of unfinished work.

The script first turns on itself: a small tree with each kind of violation must draw each complaint.
Prints TAP.
"""

import os
import re
import subprocess
import sys
import tempfile

FILE_LINES_MAX = 900
COLUMNS_MAX = 100

# The core, which is pure; and for every room, the rooms that it may include besides itself.
BELOW = {}
BELOW["base"] = []
BELOW["merkle"] = ["base"]
BELOW["ledger"] = ["merkle", "base"]
BELOW["governance"] = ["ledger", "merkle", "base"]
BELOW["receipts"] = ["governance"] + BELOW["governance"]
BELOW["execution"] = ["receipts"] + BELOW["receipts"]
BELOW["consensus"] = ["execution"] + BELOW["execution"]
PURE = list(BELOW)
BELOW["host"] = ["consensus"] + BELOW["consensus"]
for program_room in ("node", "client", "audit-tool"):
    BELOW[program_room] = ["host"] + BELOW["host"]

# System headers for the core: plain language and memory.
HEADERS_PURE = {
    "assert.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h",
    "stddef.h", "stdint.h", "stdlib.h", "stdnoreturn.h", "string.h",
}
# And what single files may include, with the reason.
HEADERS_EXCEPTIONS = {
    ("base/check.c", "unistd.h"): "write(2) to stderr: the last words before abort",
    ("base/problem.c", "stdio.h"): "vsnprintf into memory; no stream is opened",
    ("base/hash.h", "nettle/sha2.h"): "SHA-256",
    ("base/hash.c", "nettle/hmac.h"): "HMAC-SHA-256, the PRF of the nonces",
    ("base/sign.c", "sodium.h"): "Ed25519; the symbols below say which functions",
    ("execution/layer.h", "bsd/sys/tree.h"): "a search tree made of macros",
}
# Protobuf is the business of the codec.
HEADERS_LEDGER = {"protobuf-c/protobuf-c.h"}
GENERATED_HEADER = re.compile(r"(ledger/)?onus\.pb-c\.h")

# Symbols that the core's objects may take from the C library and others.
SYMBOLS_PURE = re.compile(
    r"(_{1,2})?(mem(cpy|cmp|move|set|chr)|str(len|cmp|ncmp|chr|nlen))(_chk)?"
    r"|malloc|calloc|realloc|reallocarray|free|abort|qsort|bsearch"
    r"|__assert_fail|__stack_chk_(fail|guard)|_GLOBAL_OFFSET_TABLE_"
    r"|__\w+[sdt]i[23]"  # the compiler's own arithmetic, __popcountdi2 and the like
    r"|__(asan|ubsan|sanitizer)_\w+|__tls_get_addr"
)
SYMBOLS_EXCEPTIONS = {
    ("base/check.c", r"write"): "to stderr, before abort",
    ("base/problem.c", r"(__)?vsnprintf(_chk)?"): "formats into memory",
    ("base/hash.c", r"nettle_(hmac_)?sha256_\w+"): "SHA-256 and HMAC",
    (
        "base/sign.c",
        r"crypto_sign_(seed_keypair|detached|verify_detached|open|ed25519\w*)"
        r"|crypto_core_ed25519_\w+|sodium_(init|memzero)",
    ): "deterministic Ed25519; sodium_init runs once, at a program's start",
    ("ledger/", r"protobuf_c_\w+"): "the codec",
}

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|not implemented)\b")
QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
SYSTEM = re.compile(r"^\s*#\s*include\s+<([^>]+)>", re.MULTILINE)


def sources(root, rooms):
    """All C files of the rooms, as paths relative to the root."""
    for room in rooms:
        for folder, _, names in os.walk(os.path.join(root, room)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def check_include_order(root):
    """Complaints about includes that do not point downward."""
    for path in sources(root, BELOW):
        room = path.split("/")[0]
        for included in QUOTED.findall(read(root, path)):
            if GENERATED_HEADER.fullmatch(included):
                if room != "ledger":
                    yield f"{path}: includes {included}: only ledger/ may see protobuf"
                continue
            target = included.split("/")[0] if "/" in included else None
            if target not in BELOW:
                yield f'{path}: includes "{included}": write "room/file.h"'
            elif target != room and target not in BELOW[room]:
                yield f"{path}: includes {included}: {target}/ is not below {room}/"


def check_headers(root):
    """Complaints about system headers in the core that are not allowed there."""
    for path in sources(root, PURE):
        allowed = HEADERS_PURE | (HEADERS_LEDGER if path.startswith("ledger/") else set())
        for header in SYSTEM.findall(read(root, path)):
            if header not in allowed and (path, header) not in HEADERS_EXCEPTIONS:
                yield f"{path}: includes <{header}>, which is not for the core"


def symbols_of(build, room):
    """(object's source path, letter, symbol) of everything in the room's static libraries."""
    folder = os.path.join(build, room)
    if not os.path.isdir(folder):
        return
    for archive in sorted(os.listdir(folder)):
        if not (archive.startswith("lib") and archive.endswith(".a")):
            continue
        listing = subprocess.run(
            ["nm", "-A", "-P", os.path.join(folder, archive)],
            check=True, capture_output=True, text=True,
        ).stdout
        for line in listing.splitlines():
            # FOLDER/libbase.a[libbase.a.p/check.c.o]: write U
            place, symbol, letter = re.match(r".*\[(.*)\]: (\S+) (\w)", line).groups()
            source = os.path.basename(place).removesuffix(".o")
            source = source.removeprefix("meson-generated_.._")
            yield f"{room}/{source}", letter, symbol


def symbol_allowed(path, symbol):
    if SYMBOLS_PURE.fullmatch(symbol):
        return True
    return any(
        (path == place or place.endswith("/") and path.startswith(place))
        and re.fullmatch(pattern, symbol)
        for (place, pattern) in SYMBOLS_EXCEPTIONS
    )


def check_symbols(build, rooms):
    """Complaints about what the core's objects take from outside, or from a room above."""
    home = {}
    taken = []
    for room in rooms:
        for path, letter, symbol in symbols_of(build, room):
            if letter in "Uw":
                taken.append((room, path, symbol))
            elif letter.isupper():
                home[symbol] = room
    if not taken:
        yield f"{build}: holds no static library of the core: build first"
    for room, path, symbol in taken:
        origin = home.get(symbol)
        if origin is not None:
            if origin != room and origin not in BELOW[room]:
                yield f"{path}: calls {symbol} of {origin}/, which is not below {room}/"
        elif not symbol_allowed(path, symbol):
            yield f"{path}: takes {symbol} from outside, which is not for the core"


def check_form(root):
    """Complaints about length, width, the opening comment and unfinished work."""
    for path in sources(root, list(BELOW) + ["tests"]):
        text = read(root, path)
        lines = text.splitlines()
        if not text.startswith(("/*", "//")):
            yield f"{path}: does not open with a comment on its purpose"
        if len(lines) > FILE_LINES_MAX:
            yield f"{path}: {len(lines)} lines, more than {FILE_LINES_MAX}"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                yield f"{path}:{number}: {len(line)} columns, more than {COLUMNS_MAX}"
            if UNFINISHED.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()}"


def check_tests_listed(root):
    """Complaints about unit tests that the build forgot, and that would never run."""
    listed = set(re.findall(r"'([^']+)'", read(root, "tests/unit/meson.build")))
    for path in sources(root, ["tests/unit"]):
        name = os.path.basename(path)
        if name.endswith(".c") and name not in listed and name.removesuffix(".c") not in listed:
            yield f"{path}: is not named in tests/unit/meson.build"


# ---- the script against itself ---------------------------------------------------------------------

VIOLATIONS = {
    "base/upward.c": '/* x */\n#include "ledger/codec.h"\n',
    "receipts/engine.c": '/* x */\n#include "execution/engine.h"\n',
    "governance/sideways.c": '/* x */\n#include "receipts/receipt.h"\n',
    "consensus/protobuf.c": '/* x */\n#include "ledger/onus.pb-c.h"\n',
    "merkle/bare.c": '/* x */\n#include "tree.h"\n',
    "consensus/clock.c": "/* x */\n#include <time.h>\n",
    "execution/print.c": "/* x */\n#  include <stdio.h>\n",
    "ledger/silent.c": "int silent;\n",
    "node/long.c": "/* x */\n" + "\n" * FILE_LINES_MAX,
    "client/wide.c": "/* x */\n// " + "w" * COLUMNS_MAX + "\n",
    "tests/unit/forgotten.c": "/* x */\n",
    "host/later.c": "/* x */\n// TO" + "DO: the rest\n",
}
INNOCENT = {
    "base/bytes.h": "/* x */\n#include <stdint.h>\n",
    "base/check.c": '/* x */\n#include "base/check.h"\n#include <unistd.h>\n',
    "receipts/verify.c": '/* x */\n#include "governance/members.h"\n#include "receipts/receipt.h"\n',
    "ledger/codec.c": '/* x */\n#include <protobuf-c/protobuf-c.h>\n#include "ledger/onus.pb-c.h"\n',
    "tests/unit/meson.build": "unit_tests = {\n  'remembered': [[base]],\n}\n",
    "tests/unit/remembered.c": "/* x */\n",
    "node/main.c": '/* x */\n#include <time.h>\n#include "consensus/replica.h"\n',
}
# One source a room: what it calls, and whether that must be complained about.
LINKED = {
    "base/quiet.c": ("void *malloc(unsigned long); void *quiet(void) { return malloc(1); }", False),
    "base/check.c": ("long write(int, const void *, unsigned long);"
                     " long last(void) { return write(2, 0, 0); }", False),
    "base/talk.c": ("long write(int, const void *, unsigned long);"
                    " long talk(void) { return write(2, 0, 0); }", True),
    "base/lucky.c": ("int rand(void); int lucky(void) { return rand(); }", True),
    "ledger/late.c": ("long time(long *); long late(void) { return time(0); }", True),
    "ledger/up.c": ("int above(void); int up(void) { return above(); }", True),
    "consensus/above.c": ("int up(void); int above(void) { return up(); }", False),
}


def write_tree(root, files):
    for path, text in files.items():
        os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(text)


def build_tree(root, files):
    write_tree(root, {path: text for path, (text, _) in files.items()})
    for path in files:
        room, name = path.split("/")
        objects = os.path.join(root, room, name + ".o")
        subprocess.run(["cc", "-c", os.path.join(root, path), "-o", objects], check=True)
        archive = os.path.join(root, room, f"lib{room}.a")
        subprocess.run(["ar", "rc", archive, objects], check=True)


def check_self():
    """Complaints about this script: what it overlooked and whom it wronged."""

    def mismatches(complaints, guilty):
        accused = {complaint.split(":")[0] for complaint in complaints}
        for path in guilty - accused:
            yield f"rooms.py overlooked {path}"
        for path in accused - guilty:
            yield f"rooms.py wronged {path}"

    with tempfile.TemporaryDirectory() as root:
        write_tree(root, {**VIOLATIONS, **INNOCENT})
        complaints = [*check_include_order(root), *check_headers(root), *check_form(root),
                      *check_tests_listed(root)]
        yield from mismatches(complaints, set(VIOLATIONS))
    with tempfile.TemporaryDirectory() as root:
        build_tree(root, LINKED)
        guilty = {path for path, (_, complain) in LINKED.items() if complain}
        yield from mismatches(check_symbols(root, PURE), guilty)
        if not list(check_symbols(os.path.join(root, "none"), PURE)):
            yield "rooms.py overlooked that nothing was built"


def main(root, build):
    checks = [
        ("this script complains of each violation and of nothing else", check_self()),
        ("includes point downward", check_include_order(root)),
        ("the core includes no header of the outside world", check_headers(root)),
        ("the core links nothing of the outside world", check_symbols(build, PURE)),
        ("every file is in form", check_form(root)),
        ("every unit test is built", check_tests_listed(root)),
    ]
    failed = 0
    print(f"1..{len(checks)}")
    for number, (title, complaints) in enumerate(checks, 1):
        found = sorted(set(complaints))
        for complaint in found:
            print(f"# {complaint}")
        print(f"{'not ok' if found else 'ok'} {number} - {title}", flush=True)
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: rooms.py SOURCE_ROOT BUILD_ROOT")
    sys.exit(main(sys.argv[1], sys.argv[2]))
