#!/usr/bin/env python3
"""A replica that cannot run says why in one line with the remedy, before it writes anything."""

import hashlib
import os
import shutil
import socket

import harness
from harness import ERROR, INVALID, OK, REJECTED, USAGE, Sandbox, program, run


def tree(folder):
    """Every file below a folder, with mode and content."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in folders + files:
            full = os.path.join(path, name)
            info = os.lstat(full)
            content = b""
            if os.path.isfile(full):
                with open(full, "rb") as file:
                    content = hashlib.sha256(file.read()).digest()
            found[os.path.relpath(full, folder)] = (info.st_mode, content)
    return found


class Broken:
    """A copy of a replica's home with something wrong; its ports are free."""

    def __init__(self, suite, sandbox, replica):
        self.suite = suite
        self.home = os.path.join(suite.dir, "broken")
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(sandbox.home(replica), self.home)
        shutil.copy(sandbox.path("genesis.onus"), suite.dir)  # where ../genesis.onus leads
        self.config = os.path.join(self.home, "replica.yaml")

    def path(self, name):
        return os.path.join(self.home, name)

    def edit(self, change):
        with open(self.config, encoding="utf-8") as file:
            content = file.read()
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(change(content))

    def refused(self, title, code, *words, init=False):
        """It is refused, with one line that has all the words, and nothing is written."""
        before = tree(self.home)
        flags = ["--init"] if init else []
        result = run(program("onusd"), "--config", self.config, *flags, timeout=20)
        suite = self.suite
        lines = [line for line in result.err.splitlines() if line.strip()]
        suite.says(result, code, f"{title}: refused, by name", *words)
        suite.check(len(lines) == 1, f"{title}: in one line", result)
        suite.check(tree(self.home) == before, f"{title}: nothing is written", sorted(
            set(tree(self.home).items()) ^ set(before.items())))


def setting_up(suite):
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits")
    refusals(suite, sandbox)
    sandbox.down()
    other = Sandbox(suite, "other").up()
    other.down()

    check = run(program("onusd"), "--config", sandbox.config(1), "--check")
    suite.code(check, OK, "onusd --check finds nothing wrong")

    for what, port in (("peers", sandbox.peer_port(1)), ("clients", sandbox.client_port(1))):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            sock.listen()
            Broken(suite, sandbox, 1).refused(f"the port for {what} is in use", ERROR, f":{port}")

    for name in ("replica.key", "nonce.secret", "tls.key"):
        broken = Broken(suite, sandbox, 1)
        os.remove(broken.path(name))
        broken.refused(f"a missing {name}", ERROR, name)
        broken = Broken(suite, sandbox, 1)
        os.chmod(broken.path(name), 0o644)
        broken.refused(f"a world-readable {name}", ERROR, name, "chmod")

    broken = Broken(suite, sandbox, 1)
    shutil.copy(sandbox.home(2) + "/replica.key", broken.path("replica.key"))
    broken.refused("another replica's signing key", ERROR, "replica.key")

    broken = Broken(suite, sandbox, 1)
    broken.edit(lambda content: content + "\ncolour: blue\n")
    lines = sum(1 for _ in open(broken.config, encoding="utf-8"))
    broken.refused("an unknown key of the configuration", ERROR, "colour", lines)

    broken = Broken(suite, sandbox, 1)
    broken.edit(lambda content: content.replace("replica: 1", "replica: [1"))
    broken.refused("a configuration that is no YAML", ERROR, "replica.yaml")

    broken = Broken(suite, sandbox, 1)
    broken.edit(lambda content: content.replace("replica: 1", "replica: 9"))
    broken.refused("a replica that genesis does not know", ERROR, "9")

    for damage in ("another", "cut", "flipped", "missing"):
        broken = Broken(suite, sandbox, 1)
        spoil_genesis(broken, other, damage)
        code = ERROR if damage in ("another", "missing") else INVALID
        broken.refused(f"a genesis that is {damage}", code, "genesis")

    broken = Broken(suite, sandbox, 1)
    shutil.rmtree(broken.path("data"))
    broken.refused("a data directory that is gone", ERROR, "data", "--init")

    suite.code(run(program("onusd"), "--config", sandbox.path("none.yaml")), ERROR,
               "a configuration that is not there")
    suite.code(run(program("onusd"), "--what"), USAGE, "a wrong option")


def spoil_genesis(broken, other, damage):
    """The genesis that the configuration names, wherever that is."""
    path = broken.path("genesis.onus")
    if not os.path.exists(path):
        shutil.copy(other.path("genesis.onus"), path)
    broken.edit(lambda content: "\n".join(
        "genesis: genesis.onus" if line.startswith("genesis:") else line
        for line in content.splitlines()) + "\n")
    if damage == "another":
        shutil.copy(other.path("genesis.onus"), path)
        return
    if damage == "missing":
        os.remove(path)
        return
    with open(path, "rb") as file:
        content = bytearray(file.read())
    if damage == "cut":
        del content[len(content) // 2:]
    else:
        content[len(content) // 2] ^= 1
    with open(path, "wb") as file:
        file.write(content)


def refusals(suite, sandbox):
    """What a procedure refuses is recorded, with a receipt, and is no error of the service."""
    receipt = os.path.join(suite.dir, "refusal.receipt")
    suite.code(sandbox.onus("submit", "bank.create_account", "rich", "10", "10"), OK, "an account")
    result = sandbox.onus("submit", "bank.send_payment", "rich", "nobody", "5", "--receipt",
                          receipt)
    suite.says(result, REJECTED, "a payment to nobody is refused", "no such account")
    suite.code(sandbox.onus("receipt", "verify", receipt), OK, "and the refusal has a receipt")
    suite.code(sandbox.onus("submit", "bank.write_check", "rich", "9223372036854775808"), REJECTED,
               "an amount that is none is refused")
    suite.code(sandbox.onus("submit", "no.such.procedure"), REJECTED, "so is an unknown procedure")
    atomic = b'["kv.put","both","1"]\n["kv.cas","both","2","3"]\n'
    suite.code(sandbox.onus("submit", "--atomic", "-", stdin=atomic), REJECTED,
               "an atomic request of which one call fails is refused")
    suite.code(sandbox.onus("submit", "kv.get", "both"), REJECTED, "and none of it took effect")
    atomic = b'["kv.put","a","1"]\n["kv.put","b","2"]\n'
    suite.code(sandbox.onus("submit", "--atomic", "-", stdin=atomic), OK,
               "another takes effect whole")
    suite.code(sandbox.onus("submit", "kv.get", "b"), OK, "to its last call")


if __name__ == "__main__":
    harness.main(setting_up)
