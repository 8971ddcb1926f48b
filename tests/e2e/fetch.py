#!/usr/bin/env python3
"""onus-audit fetch: ledgers are demanded of running replicas with signed challenges.

What they hand over under their signatures audits clean against what the client holds; a later
fetch goes on where the last one was; who does not answer is named in a report that blames nobody;
and a service that is fetched from, or is sent nonsense in place of demands, goes on.
"""

import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import time

import harness
from harness import CANNOT_AUDIT, INVALID, OK, REJECTED, UNREACHABLE, USAGE, Load, Sandbox, program, run
from hostile import connect_tls, dropped, frame, log_lines, send

SEED = 20261122
MESSAGE_DEMAND, MESSAGE_REJECT = 35, 66
SERVED_ENTRIES, SERVED_OFFER, SERVED_DIGESTS, SERVED_ITEMS = 1, 2, 3, 4
REJECT_SIGNATURE, REJECT_AUTHOR, REJECT_UNKNOWN = 3, 4, 7
DEADLINE_S = 120
INTERVAL = 20  # of checkpoints, where there are to be many
WINDOW = 8192
JOINED = "joined from a checkpoint"
MEASURED_S = 6
# What a service must keep of its throughput while somebody fetches without a pause. The bound is
# loose, since fetcher and replicas share a machine here.
SHARE_KEPT_MIN = 0.2

service = None  # the sandbox that all tests share
load = None


def command(out, *arguments, context=None, deadline=DEADLINE_S):
    return [program("onus-audit"), "fetch", "--context", context or service.context, "--out", out,
            "--deadline", str(deadline), "-o", "json", *arguments]


def fetch(out, *arguments, context=None, deadline=DEADLINE_S):
    return run(*command(out, *arguments, context=context, deadline=deadline),
               timeout=deadline + 60)


def start_fetch(suite, out, *arguments, deadline=DEADLINE_S):
    started = subprocess.Popen(command(out, *arguments, deadline=deadline),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    suite.pids.add(started.pid)
    return started


def states(result):
    return {int(item["id"]): item for item in result.json()["replicas"]}


def kept(out, replica):
    """Bytes that were fetched from a replica so far."""
    try:
        return sum(file.stat().st_size
                   for file in os.scandir(os.path.join(out, f"replica-{replica}")))
    except OSError:
        return 0


def audit(out, *replicas, beginning=()):
    ledgers = [os.path.join(out, f"replica-{replica}") for replica in replicas]
    return run(program("onus-audit"), "run", "--service", service.service(), "--ledger", *ledgers,
               *beginning, "--receipts", os.path.join(service.context, "receipts"), timeout=300)


def report(out):
    return run(program("onus-audit"), "report", os.path.join(out, "fetch.report"))


def under_load(suite):
    global service, load
    service = Sandbox(suite).up()
    suite.code(service.ready(), OK, "the service commits")
    load = Load(service)
    suite.check(load.begun(), "a load is under way")
    out = os.path.join(suite.dir, "fetched")
    result = fetch(out)
    levels = [item["state"] for item in states(result).values()] if result.code == OK else []
    suite.check(result.code == OK and levels == ["level"] * service.count,
                "under load all replicas hand over what they have", result)
    first = states(result)
    again = fetch(out)
    second = states(again) if again.code == OK else {}
    grown = all(int(second[r]["entries"]) > int(first[r]["entries"]) for r in second)
    suite.check(second and grown and not any(item["parted"] for item in second.values()),
                "a second fetch has more, and of the same ledger", again)
    suite.check(service.follows(*range(service.count)), "the replicas follow all the while")


def share_of_throughput(suite):
    """How much of the throughput is left while one auditor fetches all, again and again."""
    def rate():
        before, start = service.committed(), time.monotonic()
        time.sleep(MEASURED_S)
        return (service.committed() - before) / (time.monotonic() - start)

    alone = rate()
    started = start_fetch(suite, os.path.join(suite.dir, "measured"))
    os.setpriority(os.PRIO_PROCESS, started.pid, 19)  # it is the replicas' work that counts
    beside = rate()
    was_busy = started.poll() is None
    started.kill()
    started.communicate()
    shutil.rmtree(os.path.join(suite.dir, "measured"), ignore_errors=True)
    print(f"# {alone:.0f} transactions a second alone, {beside:.0f} while all is fetched"
          f"{'' if was_busy else ' (which ended before)'}")
    suite.check(beside >= SHARE_KEPT_MIN * alone,
                f"a fetch at full speed leaves at least {SHARE_KEPT_MIN:.0%} of the throughput",
                f"{alone:.0f}/s alone, {beside:.0f}/s beside it")


def audited(suite):
    load.finish("all of the load's requests have their receipts")
    out = os.path.join(suite.dir, "fetched")
    before = {r: kept(out, r) for r in range(service.count)}
    harness.wait_until(service.level)
    result = fetch(out)
    suite.code(result, OK, "a third fetch, with the service at rest")
    fewest = max(int(item["demands"]) for item in states(result).values())
    suite.check(all(kept(out, r) > before[r] > 0 for r in before),
                f"it goes on and does not begin anew ({fewest} demands at most)", result)
    checked = audit(out, *range(service.count))
    suite.check(checked.code == OK and "no misbehaviour" in checked.out,
                "onus-audit run finds nothing wrong with what was fetched", checked)
    for r in range(service.count):
        names = os.listdir(os.path.join(out, f"replica-{r}"))
        suite.check(names and all(name.endswith(".seg") for name in names),
                    f"replica {r}'s directory holds segments alone", names)
    text = report(out)
    suite.check(text.code == OK and "blames nobody" in text.out and "level" in text.out,
                "the report verifies, and says that it blames nobody", text)
    spoiled = os.path.join(suite.dir, "spoiled.report")
    with open(os.path.join(out, "fetch.report"), "rb") as file:
        content = bytearray(file.read())
    content[-40] ^= 1
    with open(spoiled, "wb") as file:
        file.write(content)
    suite.code(run(program("onus-audit"), "report", spoiled), INVALID, "a spoiled one does not")


def killed(suite):
    """kill -9 of the fetcher, again and again; in the end it is as if that had never happened."""
    out = os.path.join(suite.dir, "killed")
    for attempt in range(4):
        before = kept(out, 1)
        started = start_fetch(suite, out)
        harness.wait_until(
            lambda b=before, s=started: s.poll() is not None or kept(out, 1) > b + 200000)
        started.kill()
        started.communicate()
        suite.check(kept(out, 1) >= before, f"killed with {kept(out, 1)} bytes ({attempt + 1})")
    result = fetch(out)
    suite.code(result, OK, "then it goes on to the end")
    suite.check(not any(item["parted"] for item in states(result).values()), "with one history",
                result)
    suite.code(audit(out, *range(service.count)), OK, "and the ledgers audit clean")


def silent(suite):
    """One replica is stopped in the midst of a fetch, another one is dead from the start."""
    out = os.path.join(suite.dir, "silent")
    service.kill(2)
    started = start_fetch(suite, out, deadline=25)
    harness.wait_until(lambda: kept(out, 3) > 100000 or started.poll() is not None, 20, 0.005)
    service.pause(3)
    result = harness.finish(started, 60)
    service.resume(3)
    suite.code(result, UNREACHABLE, "some do not answer: exit 3")
    found = states(result)
    suite.check(found[3]["state"] == "SILENT", "the one that was stopped is silent", result)
    suite.check(found[2]["state"] == "UNREACHABLE" and found[2]["reason"],
                "the one that was killed cannot be reached, and it is said why", result)
    suite.check([found[r]["state"] for r in (0, 1)] == ["level"] * 2, "the others are level",
                result)
    text = report(out)
    suite.check(text.code == OK and "blames nobody" in text.out,
                "the report verifies and blames nobody", text)
    lines = text.out.splitlines()
    at = next((i for i, line in enumerate(lines) if line.strip().startswith("replica 3")), None)
    told = "\n".join(lines[at:at + 7]) if at is not None else ""
    suite.check("silent" in told.lower() and "UTC" in told and "challenge" in told,
                "and says who was asked, when, and for what", text)
    text = run(*[word for word in command(out, deadline=3) if word not in ("-o", "json")],
               "--replica", "2")
    told = all(word in text.out for word in ("UNREACHABLE", "fetch.report", "blames nobody"))
    suite.check(text.code == UNREACHABLE and told, "for people: a table, and where the report is",
                text)
    service.start(2)
    suite.check(harness.wait_until(lambda: fetch(out, deadline=20).code == OK, 60, 1),
                "when both are back, so are their ledgers")


def refused(suite):
    stranger = os.path.join(suite.dir, "stranger")
    os.mkdir(stranger)
    shutil.copy(os.path.join(service.context, "genesis.onus"), stranger)
    result = run(program("onus"), "key", "generate", os.path.join(stranger, "user.key"))
    suite.code(result, OK, "a key of nobody")
    out = os.path.join(suite.dir, "refused")
    suite.code(fetch(out, context=stranger), REJECTED, "a stranger's key is refused")
    suite.code(run(program("onus-audit"), "fetch", "--context", service.context), USAGE,
               "without --out: usage")
    suite.code(fetch(out, "--replica", "9"), USAGE, "a replica that there is not: usage")


def young(suite):
    """A service that has not come far: there is no checkpoint that would be of use."""
    global service
    service = Sandbox(suite, "checkpoints",
                      options=("--checkpoint-interval", INTERVAL, "--window", WINDOW)).up()
    suite.code(service.ready(), OK, "a service with many checkpoints commits")
    out = os.path.join(suite.dir, "young")
    result = fetch(out, "--checkpoint", deadline=30)
    suite.code(result, CANNOT_AUDIT, "at first there is no checkpoint to be had")
    text = report(out)
    suite.check(text.code == OK and "offer" in text.out, "the report says what was demanded", text)


def from_a_checkpoint(suite):
    """An auditor who does not want the whole ledger begins behind a checkpoint, and says so."""
    global load
    load = Load(service, "--clients", 2)
    suite.check(load.begun(), "a load is under way")
    out = os.path.join(suite.dir, "checkpoint")

    def fetched():
        result = fetch(out, "--checkpoint")
        return [result] if result.code == OK else []

    result = (harness.wait_until(fetched, 60, 1) or [None])[0]
    suite.check(result is not None, "under load a checkpoint is fetched, and the ledgers behind it")
    if result is None:
        return
    number = int(result.json()["checkpoint"])
    first = states(result)
    suite.check(number > INTERVAL and number % INTERVAL == 0, f"checkpoint {number}", result)
    names = os.listdir(os.path.join(out, "state"))
    suite.check(names == [f"checkpoint-{number:012}.state"], "it is there as one file", names)
    suite.check(service.follows(*range(service.count)), "the replicas follow all the while")
    load.finish("all of the load's requests have their receipts")
    harness.wait_until(service.level)
    again = fetch(out)
    second = states(again)
    suite.check(again.code == OK and int(again.json()["checkpoint"]) == number and
                all(int(second[r]["entries"]) > int(first[r]["entries"]) for r in first),
                "a second fetch goes on behind the same checkpoint", again)
    beginning = ("--state", os.path.join(out, "state"), "--from", number)
    checked = audit(out, *range(service.count), beginning=beginning)
    told = (f"from checkpoint {number}", f"began at    checkpoint {number} ",
            f"not checked batches 1..{number}:", "no misbehaviour")
    suite.check(checked.code == OK and all(words in checked.out for words in told),
                "the audit begins there, finds nothing wrong, and says what it did not see", checked)
    spoil(suite, out, number)


def spoil(suite, out, number):
    """A byte of the state that was fetched is another one: it is no state to begin at."""
    folder = os.path.join(suite.dir, "spoiled")
    shutil.copytree(os.path.join(out, "state"), folder)
    with open(os.path.join(folder, f"checkpoint-{number:012}.state"), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    beginning = ("--state", folder, "--from", number)
    suite.code(audit(out, 0, beginning=beginning), INVALID, "a spoiled state is refused")


def silent_about_checkpoints(suite):
    """One replica is stopped: the others have a checkpoint, and it is named in the report."""
    out = os.path.join(suite.dir, "stopped")
    service.pause(3)
    result = fetch(out, "--checkpoint", deadline=15)
    alone = fetch(os.path.join(suite.dir, "alone"), "--checkpoint", "--replica", 3, deadline=6)
    service.resume(3)
    suite.code(result, UNREACHABLE, "with one replica stopped: exit 3")
    found = states(result)
    suite.check(found[3]["state"] in ("SILENT", "UNREACHABLE") and
                [found[r]["state"] for r in (0, 1, 2)] == ["level"] * 3,
                "the others hand over checkpoint and ledger", result)
    text = report(out)
    suite.check(text.code == OK and "replica 3" in text.out and "blames nobody" in text.out,
                "the report names it, and blames nobody", text)
    suite.check(alone.code == UNREACHABLE and int(alone.json()["checkpoint"]) == 0,
                "from it alone nothing comes", alone)


def from_one_that_joined(suite):
    """A replica whose disk was lost joins from a checkpoint, and is fetched from like the others."""
    global load
    service.kill(3)
    shutil.rmtree(os.path.join(service.home(3), "data"))
    lost = run(program("onusd"), "--config", service.config(3), "--lost")
    suite.code(lost, OK, "a replica loses its disk")
    service.start(3)
    suite.check(harness.wait_until(lambda: JOINED in service.log_text(3), 60),
                "it joins from a checkpoint")
    load = Load(service, "--clients", 2)
    suite.check(load.begun() and service.follows(3), "it follows")
    out = os.path.join(suite.dir, "joined")

    def fetched():
        result = fetch(out, "--checkpoint", deadline=20)
        return [result] if result.code == OK else []

    result = (harness.wait_until(fetched, 60, 1) or [None])[0]
    load.finish("all of the load's requests have their receipts")
    suite.check(result is not None, "all hand over a ledger behind a checkpoint, it too")
    if result is not None:
        number = int(result.json()["checkpoint"])
        beginning = ("--state", os.path.join(out, "state"), "--from", number)
        harness.wait_until(service.level)
        suite.code(fetch(out), OK, "with the service at rest all of it is handed over")
        suite.code(audit(out, 3, beginning=beginning), OK, "what it handed over audits clean")
    service.kill(*range(service.count), how=signal.SIGTERM)


def varint(number):
    content = b""
    while number > 0x7f:
        content += bytes([number & 0x7f | 0x80])
        number >>= 7
    return content + bytes([number])


def encode(*fields):
    """Fields, numbered from 1, as the codec wants them: what is zero or empty is left out."""
    content = b""
    for tag, value in enumerate(fields, 1):
        if isinstance(value, bytes) and value:
            content += varint(tag << 3 | 2) + varint(len(value)) + value
        elif not isinstance(value, bytes) and value:
            content += varint(tag << 3) + varint(value)
    return content


def take(sock, size):
    content = b""
    while len(content) < size:
        piece = sock.recv(size - len(content))
        if not piece:
            raise ConnectionError("the link ended")
        content += piece
    return content


def answer_to(replica, content):
    """The kind and payload of what a replica answers."""
    with connect_tls(service.client_port(replica)) as sock:
        send(sock, frame(MESSAGE_DEMAND, content))
        sock.settimeout(10)
        size, kind = struct.unpack(">IB", take(sock, 5))
        return kind, take(sock, size)


def turned_down(suite):
    """Demands that decode and are not answered: each is refused by name, and for what it is."""
    rng = random.Random(SEED)
    shown = run(program("onus"), "key", "show", os.path.join(service.context, "user.key"))
    author = bytes.fromhex(shown.out.split()[-1])
    cases = {
        "for another replica": (author, 1, SERVED_ENTRIES, 0, REJECT_UNKNOWN),
        "for a replica that there is not": (author, 9, SERVED_ENTRIES, 0, REJECT_UNKNOWN),
        "for another's checkpoint": (author, 1, SERVED_OFFER, 0, REJECT_UNKNOWN),
        "of a stranger": (rng.randbytes(32), 0, SERVED_ENTRIES, 0, REJECT_AUTHOR),
        "of a stranger for a checkpoint": (rng.randbytes(32), 0, SERVED_OFFER, 0, REJECT_AUTHOR),
        "for an offer that its author did not sign":
            (author, 0, SERVED_OFFER, 0, REJECT_SIGNATURE),
        "for digests that its author did not sign":
            (author, 0, SERVED_DIGESTS, 8, REJECT_SIGNATURE),
        "for items that its author did not sign": (author, 0, SERVED_ITEMS, 8, REJECT_SIGNATURE),
        "that its author did not sign": (author, 0, SERVED_ENTRIES, 0, REJECT_SIGNATURE),
    }
    for title, (key, replica, part, seq, reason) in cases.items():
        body = encode(key, rng.randbytes(32), replica, int(time.time() * 1000), 10000, part, seq, 0)
        signature = rng.randbytes(64)
        prefix = b"onus/v1/demand\0" + bytes.fromhex(service.service())
        name = hashlib.sha256(prefix + body + signature).digest()
        kind, payload = answer_to(0, encode(body, signature))
        suite.check(kind == MESSAGE_REJECT and payload.startswith(encode(name, reason)),
                    f"a demand {title} is refused", f"{kind}: {payload.hex()}")


def hostile(suite):
    rng = random.Random(SEED)
    cases = {"random bytes": rng.randbytes(100), "nothing": b"",
             "a Signed of nothing": b"\x0a\x00\x12\x40" + bytes(64),
             "a Signed of noise": b"\x0a\x20" + rng.randbytes(32) + b"\x12\x40" + rng.randbytes(64)}
    time.sleep(2.1)  # logs are limited by the second: begin with a quiet one
    pids = service.pids()
    for title, content in cases.items():
        before = len(log_lines(service, 0))
        with connect_tls(service.client_port(0)) as sock:
            send(sock, frame(MESSAGE_DEMAND, content))
            suite.check(dropped(sock), f"a demand of {title} ends the link")
        suite.check(harness.wait_until(lambda b=before: len(log_lines(service, 0)) > b, 3),
                    "and is logged")
        time.sleep(0.3)
    with connect_tls(service.client_port(0)) as sock:
        send(sock, frame(MESSAGE_DEMAND, b"x", 1 << 20))
        suite.check(dropped(sock), "an oversized demand ends the link")
    suite.code(service.ready(), OK, "the service commits afterwards")
    suite.check(service.pids() == pids, "no replica ended")
    service.kill(*range(service.count), how=signal.SIGTERM)


if __name__ == "__main__":
    harness.main(under_load, share_of_throughput, audited, killed, silent, refused, turned_down,
                 hostile, young, from_a_checkpoint, silent_about_checkpoints, from_one_that_joined)
