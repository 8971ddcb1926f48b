#!/usr/bin/env python3
"""A consortium founded over four hosts, as docs/operations.md says.

Each host is a directory of its own, and only public files are copied from one to another. Every slip
that an operator can make has its message, and leaves no file behind.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat

import harness
from harness import ERROR, INVALID, OK, USAGE, Sandbox, program, run

NAMES = [f"bank-{letter}" for letter in "abcd"]
SECRETS = ("member.key", "user.key", "replica.key", "nonce.secret", "tls.key")


def onus(*arguments):
    return run(program("onus"), *arguments)


class Hosts(Sandbox):
    """Four hosts and the machine of a user, each with what it may have and nothing else."""

    def __init__(self, suite, name="hosts"):
        super().__init__(suite, name)
        self.context = self.path("alice", "context")
        self.keys = {}  # public keys, as their owners told them
        self.replica_keys = {}
        for host in range(4):
            os.makedirs(self.host(host))
        self.auditor = self.path("auditor")
        os.makedirs(self.context)
        os.makedirs(self.auditor)
        os.makedirs(self.path("post"))  # what travels

    def host(self, host, *parts):
        return self.path(NAMES[host], *parts)

    def home(self, replica):
        return self.host(replica, "replica")

    def post(self, name):
        return self.path("post", name)

    def make_keys(self):
        for host, name in enumerate(NAMES):
            result = onus("key", "generate", self.host(host, "member.key"))
            self.suite.code(result, OK, f"{name} makes its key")
            self.keys[name] = result.out.strip()
        for name, context in (("alice", self.context), ("auditor", self.auditor)):
            made = onus("key", "generate", os.path.join(context, "user.key"))
            self.suite.code(made, OK, f"{name} makes a key")
            self.keys[name] = made.out.strip()

    def plan_text(self):
        lines = ["name: clearing", "parameters:", "  pipeline: 3", "  checkpoint_interval: 9",
                 "members:"]
        for name in NAMES:
            lines += [f"  - name: {name}", f'    key: "{self.keys[name]}"']
        lines.append("replicas:")
        for replica, name in enumerate(NAMES):
            # Two hosts are known by name.
            place = "localhost" if replica < 2 else "127.0.0.1"
            lines += [f"  - member: {name}", f"    peer: {place}:{self.peer_port(replica)}",
                      f"    client: {place}:{self.client_port(replica)}"]
        lines.append("users:")
        for name in ("alice", "auditor"):
            lines += [f"  - name: {name}", f'    key: "{self.keys[name]}"']
        return "\n".join(lines) + "\n"

    def endorse(self, replica, out, plan=None, prologue=None, member=None, key=None,
                certificate=None):
        return onus("genesis", "endorse", "--plan", plan or self.post("plan.yaml"),
                    "--prologue", prologue or self.post("service.prologue"),
                    "--member-key", self.host(replica if member is None else member, "member.key"),
                    "--replica", replica, "--replica-key", key or self.replica_keys[replica],
                    "--tls-certificate", certificate or os.path.join(self.home(replica), "tls.crt"),
                    "--out", out)

    def create(self, endorsements, out, plan=None, prologue=None):
        words = [word for path in endorsements for word in ("--endorsement", path)]
        return onus("genesis", "create", "--plan", plan or self.post("plan.yaml"), "--prologue",
                    prologue or self.post("service.prologue"), *words, "--out", out)


def write(path, content):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
    return path


def founded(suite, hosts):
    """Steps 1 to 4 of docs/operations.md."""
    hosts.make_keys()
    write(hosts.post("plan.yaml"), hosts.plan_text())
    shipped_example(suite, hosts)
    slips_in_plan(suite, hosts)
    suite.code(onus("genesis", "prologue", "--plan", hosts.post("plan.yaml"), "--out",
                    hosts.post("service.prologue")), OK, "the prologue is made of the plan")
    for replica, name in enumerate(NAMES):
        listen = ["--listen-peer", f"127.0.0.1:{hosts.peer_port(replica)}", "--listen-client",
                  f"127.0.0.1:{hosts.client_port(replica)}"] if replica == 0 else []
        made = onus("-o", "json", "genesis", "replica", "--plan", hosts.post("plan.yaml"),
                    "--replica", replica, "--out", hosts.home(replica), *listen)
        suite.code(made, OK, f"{name} makes its replica's keys on its own host")
        hosts.replica_keys[replica] = made.json()["replica_key"]
    again = onus("genesis", "replica", "--plan", hosts.post("plan.yaml"), "--replica", 0, "--out",
                 hosts.home(0))
    suite.says(again, ERROR, "made again, nothing is replaced", "replica.key", "already")
    modes = [stat.S_IMODE(os.stat(os.path.join(path, name)).st_mode)
             for path, _, files in os.walk(hosts.dir) for name in files if name in SECRETS]
    suite.check(len(modes) == 18 and set(modes) == {0o600}, "every secret is closed to others",
                modes)
    endorsements = [hosts.post(f"{name}.endorsement") for name in NAMES]
    for replica, path in enumerate(endorsements):
        suite.code(hosts.endorse(replica, path), OK, f"{NAMES[replica]} endorses its replica")
    slips_in_endorsements(suite, hosts, endorsements)
    created = hosts.create(endorsements[::-1], hosts.post("genesis.onus"))
    suite.code(created, OK, "genesis is put together of endorsements in any order")
    suite.says(hosts.create(endorsements, hosts.post("genesis.onus")), ERROR,
               "and is not replaced", "genesis.onus")
    for host in range(4):
        shutil.copy(hosts.post("genesis.onus"), hosts.home(host))
        shown = onus("genesis", "show", os.path.join(hosts.home(host), "genesis.onus"))
        suite.check(shown.code == OK and shown.out.split()[1] == created.out.split()[1],
                    f"{NAMES[host]} finds the same service id", shown)


def shipped_example(suite, hosts):
    """docs/plan.example.yaml, with keys that are keys, is a plan."""
    docs = os.path.join(os.path.dirname(__file__), "..", "..", "docs")
    with open(os.path.join(docs, "plan.example.yaml"), encoding="utf-8") as file:
        content = file.read()
    for digit, name in zip("012", ("bank-a", "bank-b", "alice")):
        content = content.replace(digit * 64, hosts.keys[name])
    path = write(hosts.post("example.yaml"), content)
    suite.code(onus("genesis", "prologue", "--plan", path, "--out", path + ".prologue"), OK,
               "the shipped example is a plan")


def slips_in_plan(suite, hosts):
    plan = hosts.plan_text()
    key = hosts.keys["bank-a"]
    slips = {
        "an unknown key": (plan.replace("  pipeline: 3", "  colour: 3"), (":3:", "colour")),
        "a key used twice": (plan.replace(hosts.keys["alice"], key), ("users[0].key", "members[0]")),
        "a key that is none": (plan.replace(key, "f" * 64), ("members[0].key",)),
        "a name used twice": (plan.replace("name: bank-b", "name: bank-a"), ("members[1].name",)),
        "a member that is not there": (plan.replace("member: bank-d", "member: bank-x"),
                                       ("replicas[3].member", "bank-x")),
        "an address without a port": (plan.replace(f":{hosts.peer_port(2)}", ""),
                                      ("replicas[2].peer",)),
        "an address used twice": (plan.replace(f":{hosts.peer_port(3)}",
                                               f":{hosts.peer_port(2)}"), ("replicas[3]", "twice")),
        "too short an interval": (plan.replace("interval: 9", "interval: 8"),
                                  ("parameters.checkpoint_interval",)),
    }
    for title, (content, words) in slips.items():
        path = write(hosts.post("slip.yaml"), content)
        out = hosts.post("slip.prologue")
        result = onus("genesis", "prologue", "--plan", path, "--out", out)
        suite.says(result, ERROR, f"{title} in the plan is named", "slip.yaml", *words)
        suite.check(not os.path.exists(out), f"{title}: nothing is written")


def slips_in_endorsements(suite, hosts, good):
    out = hosts.post("slip.endorsement")
    suite.says(hosts.endorse(2, out, member=1), INVALID, "another member's key is refused",
               "member.key", "bank-c")
    os.chmod(hosts.host(1, "member.key"), 0o644)
    suite.says(hosts.endorse(1, out), ERROR, "a key of mode 0644 is refused", "member.key", "chmod")
    os.chmod(hosts.host(1, "member.key"), 0o600)
    suite.says(hosts.endorse(1, good[1]), ERROR, "an endorsement is not replaced",
               os.path.basename(good[1]))
    suite.code(onus("genesis", "endorse", "--plan", hosts.post("plan.yaml"), "--member", 0), USAGE,
               "what the plan says is not said again")

    def refused(title, endorsements, *words, **changes):
        path = hosts.post("slip.onus")
        result = hosts.create(endorsements, path, **changes)
        suite.says(result, INVALID, f"{title} is named", *words)
        suite.check(not os.path.exists(path), f"{title}: no genesis is written")
        for left in (out, path):
            with contextlib.suppress(FileNotFoundError):
                os.remove(left)

    refused("a replica without endorsement", good[:2] + good[3:], "plan.yaml", "replicas[2]",
            "bank-c")
    refused("two endorsements of one replica", good + good[1:2], "bank-b.endorsement", "replica 1")
    other = hosts.post("other.prologue")
    onus("genesis", "prologue", "--plan", hosts.post("plan.yaml"), "--out", other)
    suite.code(hosts.endorse(2, out, prologue=other), OK, "bank-c endorses by another prologue")
    refused("an endorsement of another prologue", good[:2] + [out] + good[3:], "slip.endorsement",
            "signature", "prologue")
    moved = write(hosts.post("moved.yaml"),
                  hosts.plan_text().replace(f":{hosts.peer_port(2)}", ":9"))
    suite.code(hosts.endorse(2, out, plan=moved), OK, "bank-c endorses by another plan")
    refused("an endorsement by another plan", good[:2] + [out] + good[3:], "slip.endorsement",
            "peer", "replicas[2]")
    hosts.endorse(2, out, key=hosts.replica_keys[1])
    refused("a replica key used twice", good[:2] + [out] + good[3:], "slip.endorsement",
            "replica_key", "bank-b.endorsement")
    hosts.endorse(2, out, key=hosts.keys["alice"])
    refused("a user's key as a replica's", good[:2] + [out] + good[3:], "slip.endorsement",
            "replica_key", "alice")
    hosts.endorse(2, out, certificate=os.path.join(hosts.home(1), "tls.crt"))
    refused("another replica's certificate", good[:2] + [out] + good[3:], "slip.endorsement",
            "tls_digest", "bank-b.endorsement")
    changed = write(hosts.post("changed.yaml"),
                    hosts.plan_text().replace("pipeline: 3", "pipeline: 2"))
    refused("a plan changed after the prologue", good, "changed.yaml", "parameters",
            plan=changed)
    refused("a plan as an endorsement", good[:3] + [hosts.post("plan.yaml")], "plan.yaml",
            "onus-endorsement-v1")


def slips_on_hosts(suite, hosts):
    """Before any replica has run: what --check says of a host that is not right."""

    def refused(title, *words):
        result = run(program("onusd"), "--config", hosts.config(2), "--check")
        suite.says(result, ERROR, f"onusd --check: {title}", *words)

    for name in ("replica.key", "nonce.secret", "tls.key"):
        path = os.path.join(hosts.home(2), name)
        os.chmod(path, 0o644)
        refused(f"{name} of mode 0644", name, "chmod")
        os.chmod(path, 0o600)
    for names in (("tls.key", "tls.crt"), ("replica.key",)):
        paths = [os.path.join(hosts.home(2), name) for name in names]
        for path in paths:
            os.rename(path, path + ".kept")
            shutil.copy(os.path.join(hosts.home(1), os.path.basename(path)), path)
        refused(f"another replica's {names[-1]}", names[-1])
        for path in paths:
            os.rename(path + ".kept", path)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", hosts.peer_port(2)))
        sock.listen()
        refused("a port that is taken", f":{hosts.peer_port(2)}")


def make_context(suite, hosts):
    service = onus("-o", "json", "genesis", "show", hosts.post("genesis.onus")).json()["service"]
    make = ("genesis", "context", "--genesis", hosts.post("genesis.onus"), "--out", hosts.context)
    suite.says(onus(*make, "--service", "0" * 64), INVALID, "a genesis of another service",
               "genesis.onus", "--service")
    suite.code(onus(*make, "--service", service), OK, "alice makes her context")
    suite.says(onus(*make), ERROR, "which is not replaced", "genesis.onus")
    suite.code(onus("genesis", "context", "--genesis", hosts.post("genesis.onus"), "--out",
                    hosts.auditor), OK, "and so does the auditor")
    return service


def founding(suite):
    hosts = Hosts(suite)
    founded(suite, hosts)
    slips_on_hosts(suite, hosts)
    for replica, name in enumerate(NAMES):
        for flag in ("--check", "--init"):
            result = run(program("onusd"), "--config", hosts.config(replica), flag)
            suite.code(result, OK, f"{name}: onusd {flag}")
    service = make_context(suite, hosts)
    hosts.start(*range(4))
    suite.code(hosts.ready(), OK, "the service commits")
    receipt = hosts.path("alice", "hello.receipt")
    failed = [result for result in (hosts.onus("submit", "kv.put", f"key-{n}", "value")
                                    for n in range(20)) if result.code != OK]
    suite.check(not failed, "transactions execute", failed)
    suite.code(hosts.onus("submit", "kv.put", "greeting", "hello", "--receipt", receipt), OK,
               "one leaves its receipt in a file")
    suite.code(onus("receipt", "verify", "--service", service, "--genesis",
                    hosts.post("genesis.onus"), receipt), OK, "which anybody verifies")
    fetched = os.path.join(hosts.auditor, "fetched")
    suite.code(run(program("onus-audit"), "fetch", "--context", hosts.auditor, "--out",
                   fetched), OK, "the auditor demands the ledgers")
    suite.code(run(program("onus-audit"), "watch", "--context", hosts.auditor, "--state",
                   os.path.join(hosts.auditor, "state"), "--once"), OK, "the auditor's watch finds nothing")
    ledgers = [word for replica in range(4) for word in ("--ledger", hosts.ledger(replica))]
    suite.code(run(program("onus-audit"), "run", "--service", service, *ledgers, "--receipts",
                   os.path.join(hosts.context, "receipts")), OK, "the audit is clean")
    hosts.kill(*range(4), how=signal.SIGTERM)
    posted = [name for _, _, files in os.walk(hosts.path("post")) for name in files]
    suite.check(not set(posted) & set(SECRETS), "no secret has travelled", posted)


if __name__ == "__main__":
    harness.main(founding)
