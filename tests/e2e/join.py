#!/usr/bin/env python3
"""A replica whose ledger is at genesis, while the others are far ahead, joins from a checkpoint.

It is in service within seconds, however long the ledger is; what lies before the checkpoint comes
afterwards, is verified whole, and takes its place. Whenever it is killed on the way, it goes on.
One that never signed votes; one that lost its disk follows, and says why it does not vote.
"""

import os
import shutil
import threading
import time

import disks
import harness
from damage import flip
from harness import CANNOT_AUDIT, CORRUPT, OK, Load, Sandbox, finish, program, run

LONG = bool(os.environ.get("ONUS_E2E_LONG"))
INTERVAL = 20
WINDOW = 8192
SMALL = ("--checkpoint-interval", INTERVAL, "--window", WINDOW)
TRANSACTIONS = 600_000 if LONG else 100_000
BUNDLE = 32
LOAD = ("--clients", 2, "--bundle", 4)
JOIN_S = 30  # to be level again: the state is small
OLDER_S = 120
READY = " ready "
MEMORY = "/dev/shm"

BEGUN = "joining from a checkpoint"
JOINED = "joined from a checkpoint"
OLDER_DONE = "the older ledger is whole"


class Trickle:
    """One transaction after the other, from a client that is in no hurry, until finish()."""

    PAUSE_S = 0.2

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.results = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.results or not self.stopping.wait(self.PAUSE_S):
            self.results.append(self.sandbox.onus("submit", "kv.put", "trickle", "on"))

    def finish(self, title):
        self.stopping.set()
        self.thread.join()
        failed = [result for result in self.results if result.code != OK]
        self.sandbox.suite.check(self.results and not failed, title,
                                 failed[0] if failed else "nothing was submitted")


def names(sandbox, replica, *parts):
    """What lies in a directory below a replica's data; None: there is none."""
    try:
        return os.listdir(os.path.join(sandbox.home(replica), "data", *parts))
    except OSError:
        return None


def records(folder):
    """All records of a ledger, one behind the other, and the number of its first entry."""
    found, first = bytearray(), None
    for name in sorted(name for name in os.listdir(folder) if name.endswith(".seg")):
        first = int(name.split("-")[0]) if first is None else first
        with open(os.path.join(folder, name), "rb") as file:
            found += file.read()[64:]
    return first, found


def same_ledger(suite, sandbox, replica, other):
    first, ours = records(sandbox.ledger(replica))
    other_first, theirs = records(sandbox.ledger(other))
    size = min(len(ours), len(theirs))
    suite.check(first == other_first == 0 and size > 0 and ours[:size] == theirs[:size],
                "its ledger begins with genesis, and has the entries of the others",
                f"from {first}, {len(ours)} bytes; the other's from {other_first}, {len(theirs)}")


def logged(sandbox, replica, text, since):
    return text in sandbox.log_text(replica)[since:]


def load_history(suite, sandbox, title, count=TRANSACTIONS):
    lines = [["kv.put", f"key-{n % 20000}", f"value-{n}"] for n in range(count)]
    suite.code(finish(sandbox.load(lines, "--bundle", BUNDLE), 400), OK, title)


def whole(sandbox, replica, since):
    return logged(sandbox, replica, OLDER_DONE, since) and names(sandbox, replica, "older") is None


def joins(suite, sandbox, replica, title, since):
    """From its start: it joins, and follows."""
    started = time.monotonic()
    suite.check(harness.wait_until(lambda: logged(sandbox, replica, JOINED, since), JOIN_S),
                f"{title}: it joins from a checkpoint", sandbox.log_text(replica)[-3000:])
    suite.check(sandbox.follows(replica, timeout=JOIN_S), f"{title}: it follows the others",
                sandbox.status()[0])
    print(f"# {title}: in service after {time.monotonic() - started:.1f} s")


def becomes_whole(suite, sandbox, replica, title, since):
    """In the end it has all of the ledger; and the service goes on all the time."""
    started = time.monotonic()
    trickle = Trickle(sandbox)
    suite.check(harness.wait_until(lambda: whole(sandbox, replica, since), OLDER_S),
                f"{title}: the older ledger comes", sandbox.log_text(replica)[-3000:])
    print(f"# {title}: whole after {time.monotonic() - started:.1f} s more")
    trickle.finish(f"{title}: the others commit all the time")
    suite.check(sandbox.follows(replica), f"{title}: it follows", sandbox.status()[0])
    same_ledger(suite, sandbox, replica, (replica + 1) % 4)


def fresh(suite, sandbox, replica):
    """It has never signed anything, and comes late."""
    since = len(sandbox.log_text(replica))
    load = Load(sandbox, *LOAD)
    suite.check(load.begun(), "a load is under way")
    sandbox.start(replica)
    joins(suite, sandbox, replica, "late", since)
    suite.check(logged(sandbox, replica, BEGUN, since), "late: its log says that it begins")
    suite.check(harness.wait_until(lambda: sandbox.voting(replica)), "late: it votes",
                sandbox.status()[0])
    load.finish("late: every request under load has its receipt")
    becomes_whole(suite, sandbox, replica, "late", since)
    others = [other for other in range(4) if other != replica]
    gone = next(other for other in others if other != sandbox.primary())
    sandbox.kill(gone)
    sandbox.commits("late: its vote counts")
    sandbox.start(gone)
    suite.check(sandbox.follows(*range(4)), "all four follow", sandbox.status()[0])


def lose(suite, sandbox, replica, *lost):
    """End it, and remove these names from its data; nothing named: all of it."""
    data = os.path.join(sandbox.home(replica), "data")
    sandbox.kill(replica)
    for name in lost:
        shutil.rmtree(os.path.join(data, name))
    if not lost:
        shutil.rmtree(data)
        suite.code(run(program("onusd"), "--config", sandbox.config(replica), "--lost"), OK,
                   "its disk is lost, and made anew")


def does_not_vote(suite, sandbox, replica, title):
    def mute():
        return sandbox.replica_status(replica).get("voting") is False

    suite.check(harness.wait_until(mute), f"{title}: it does not vote", sandbox.status()[0])
    suite.check("sign" in sandbox.replica_status(replica).get("error", "") or
                "ledger" in sandbox.replica_status(replica).get("error", ""),
                f"{title}: it says why", sandbox.replica_status(replica))


def killed_when(sandbox, replica, condition, timeout=OLDER_S):
    """Start it, and kill it as soon as the condition holds. Returns: whether it ever did."""
    since = len(sandbox.log_text(replica))
    sandbox.start(replica)
    held = (harness.wait_until(lambda: logged(sandbox, replica, READY, since), timeout) and
            harness.wait_until(condition, timeout, interval=0.001))
    sandbox.kill(replica)
    return held


def older_size(sandbox, replica):
    total = 0
    for name in names(sandbox, replica, "older", "ledger") or []:
        try:
            total += os.path.getsize(
                os.path.join(sandbox.home(replica), "data", "older", "ledger", name))
        except OSError:
            pass  # renamed meanwhile
    return total


def killed_on_the_way(suite, sandbox, replica):
    """kill -9 in each of its phases."""
    lose(suite, sandbox, replica)
    since = len(sandbox.log_text(replica))
    trickle = Trickle(sandbox)
    moments = [
        ("as it begins to join", lambda: names(sandbox, replica, "joining") is not None),
        ("while it fetches", lambda: names(sandbox, replica, "joining", "ledger")),
        ("as it has joined", lambda: names(sandbox, replica, "older") is not None),
        ("while the older ledger comes", lambda: older_size(sandbox, replica) > 1 << 20),
        ("once more", lambda: older_size(sandbox, replica) > 4 << 20),
    ]
    for title, condition in moments:
        suite.check(killed_when(sandbox, replica, condition), f"killed {title}",
                    sandbox.log_text(replica)[-3000:])
    trickle.finish("killed: the others commit all the time")
    sandbox.start(replica)
    joins(suite, sandbox, replica, "killed", since)
    does_not_vote(suite, sandbox, replica, "killed, its disk lost before")
    becomes_whole(suite, sandbox, replica, "killed", since)


def recovers(suite, sandbox, replica, title):
    """Started on what its disk holds, it comes back, and nothing is left of the way there."""
    since = len(sandbox.log_text(replica))
    sandbox.start(replica)
    there = harness.wait_until(lambda: logged(sandbox, replica, READY, since))
    left = set(names(sandbox, replica)) & {"joining", "joined"}
    suite.check(there and not left and "entries=1 " not in sandbox.log_text(replica)[since:],
                title, f"left: {left}\n{sandbox.log_text(replica)[since:]}")
    sandbox.kill(replica)


def forgets(suite):
    """A disk was lost, and its operator says that the key has never signed. Only the older ledger
    shows that it has, since the others went on without it for a while."""
    sandbox = Sandbox(suite, "forgetful", options=SMALL).up()
    replica = (sandbox.primary() + 1) % 4
    suite.code(sandbox.ready(), OK, "forgets: the service commits")
    load_history(suite, sandbox, "forgets: it votes", 1000)
    sandbox.kill(replica)
    load = Load(sandbox, *LOAD)
    goal = sandbox.committed() + 2 * WINDOW
    suite.check(harness.wait_until(lambda: sandbox.committed() > goal, 60),
                "forgets: the others go on", sandbox.status()[0])
    load.finish("forgets: each of their requests has its receipt")
    shutil.rmtree(os.path.join(sandbox.home(replica), "data"))
    run(program("onusd"), "--config", sandbox.config(replica), "--init")
    since = len(sandbox.log_text(replica))
    sandbox.start(replica)
    joins(suite, sandbox, replica, "forgets", since)
    does_not_vote(suite, sandbox, replica, "forgets")
    becomes_whole(suite, sandbox, replica, "forgets", since)
    sandbox.down()


def steps_of_installing(suite, sandbox, replica):
    """Power goes after each of the renames by which a joined ledger takes its place."""
    data = os.path.join(sandbox.home(replica), "data")
    kept = os.path.join(suite.dir, "installed")
    lose(suite, sandbox, replica)
    suite.check(killed_when(sandbox, replica, lambda: names(sandbox, replica, "older")),
                "killed as it has joined", sandbox.log_text(replica)[-3000:])
    recovers(suite, sandbox, replica, "it has joined")
    suite.code(sandbox.audit(replica), CANNOT_AUDIT, "without the older ledger it cannot be audited")
    shutil.copytree(data, kept)
    undone = [(("older", "offer"), ("joined", "offer")), (("state",), ("joined", "state")),
              (("older", "state"), ("state",)), (("ledger",), ("joined", "ledger")),
              (("older", "ledger"), ("ledger",))]
    for count in range(len(undone) + 1):
        shutil.rmtree(data)
        shutil.copytree(kept, data)
        os.mkdir(os.path.join(data, "joined"))
        for there, back in undone[:count]:
            os.rename(os.path.join(data, *there), os.path.join(data, *back))
        recovers(suite, sandbox, replica, f"{count} renames before the end of installing")
    shutil.rmtree(kept)


def older_is_damaged(suite, sandbox, replica):
    """What peers have is fetched again; the offer alone must be whole."""
    data, kept = os.path.join(sandbox.home(replica), "data"), os.path.join(suite.dir, "damaged")
    older = os.path.join(data, "older")
    suite.check(killed_when(sandbox, replica, lambda: older_size(sandbox, replica) > 1 << 20),
                "killed while the older ledger comes", sandbox.log_text(replica)[-3000:])
    shutil.copytree(data, kept)  # it may be whole before it is killed again

    def restore():
        shutil.rmtree(data)
        shutil.copytree(kept, data)

    ledger = os.path.join(older, "ledger", names(sandbox, replica, "older", "ledger")[0])
    for title, spoil in (
            ("entries", lambda: flip(ledger, 1 << 19)),
            ("state", lambda: os.truncate(os.path.join(older, "state", "data.mdb"), 5000))):
        since = len(sandbox.log_text(replica))
        restore()
        spoil()
        sandbox.start(replica)
        suite.check(harness.wait_until(lambda at=since: logged(sandbox, replica, "anew", at)),
                    f"damaged older {title} are fetched again", sandbox.log_text(replica)[since:])
        sandbox.kill(replica)
    restore()
    flip(os.path.join(older, "offer"), 300)
    suite.says(run(program("onusd"), "--config", sandbox.config(replica)), CORRUPT,
               "a damaged offer is damage", "older/offer")
    restore()
    shutil.rmtree(kept)


def steps_of_merging(suite, sandbox, replica):
    """Power goes after each of the steps by which the older ledger comes in front."""
    data = os.path.join(sandbox.home(replica), "data")
    older, ledger = os.path.join(data, "older", "ledger"), os.path.join(data, "ledger")
    since = len(sandbox.log_text(replica))
    offer = os.path.join(suite.dir, "offer")
    shutil.copy(os.path.join(data, "older", "offer"), offer)
    sandbox.start(replica)
    suite.check(harness.wait_until(lambda: whole(sandbox, replica, since), OLDER_S),
                "the older ledger comes", sandbox.log_text(replica)[-3000:])
    sandbox.kill(replica)
    first = min(name for name in os.listdir(ledger) if name.endswith(".seg"))
    for title, linked, folder in (("a file lies in both", True, True),
                                  ("all files are moved", False, True),
                                  ("only the offer is left", False, False)):
        os.makedirs(older if folder else os.path.dirname(older))
        shutil.copy(offer, os.path.join(data, "older", "offer"))
        if linked:
            os.link(os.path.join(ledger, first), os.path.join(older, first))
        recovers(suite, sandbox, replica, f"killed while it merges: {title}")
        suite.check(names(sandbox, replica, "older") is None, f"{title}: then it is merged",
                    names(sandbox, replica))
    sandbox.start(replica)
    suite.check(sandbox.follows(replica), "merged, it follows", sandbox.status()[0])
    same_ledger(suite, sandbox, replica, (replica + 1) % 4)


def ledger_lost(suite, sandbox, replica):
    """The journal remembers what the ledger no longer holds."""
    lose(suite, sandbox, replica, "ledger", "state")
    since = len(sandbox.log_text(replica))
    sandbox.start(replica)
    joins(suite, sandbox, replica, "ledger lost", since)
    does_not_vote(suite, sandbox, replica, "ledger lost")
    becomes_whole(suite, sandbox, replica, "ledger lost", since)
    sandbox.kill(replica)
    sandbox.start(replica)
    suite.check(sandbox.follows(replica), "ledger lost: restarted, it follows",
                sandbox.status()[0])
    does_not_vote(suite, sandbox, replica, "ledger lost, restarted")


def disk_fails(suite, sandbox, replica):
    """What cannot be written is done without, or tried again; the replica follows in any case."""
    faulty = disks.Disks(sandbox)
    lose(suite, sandbox, replica)
    since = len(sandbox.log_text(replica))
    faulty.give([replica], "only joining/", "writes-fail")
    sandbox.start(replica)
    suite.check(harness.wait_until(lambda: logged(sandbox, replica, "cannot join", since)),
                "a disk that fails as it joins: its log says so", sandbox.log_text(replica)[-1500:])
    suite.check(sandbox.follows(replica, timeout=OLDER_S), "it catches up by ranges",
                sandbox.status()[0])
    lose(suite, sandbox, replica)
    since = len(sandbox.log_text(replica))
    faulty.give([replica], "only older/ledger/0", "syncs-fail")
    sandbox.start(replica)
    joins(suite, sandbox, replica, "a failing disk", since)
    suite.check(harness.wait_until(lambda: logged(sandbox, replica, "cannot be kept", since)),
                "a disk that fails under the older ledger: its log says so",
                sandbox.log_text(replica)[-1500:])
    suite.check(sandbox.follows(replica), "it follows nevertheless", sandbox.status()[0])
    faulty.give([replica])
    becomes_whole(suite, sandbox, replica, "the disk is well again", since)


def join(suite):
    sandbox = Sandbox(suite, options=SMALL).up()
    late = 3
    sandbox.kill(late)  # before anything was signed
    if not suite.code(sandbox.ready(), OK, "the service commits"):
        return
    load_history(suite, sandbox, f"{TRANSACTIONS} transactions without replica {late}")
    fresh(suite, sandbox, late)
    killed_on_the_way(suite, sandbox, late)
    steps_of_installing(suite, sandbox, late)
    older_is_damaged(suite, sandbox, late)
    steps_of_merging(suite, sandbox, late)
    ledger_lost(suite, sandbox, late)
    disk_fails(suite, sandbox, late)
    sandbox.down()
    same_ledger(suite, sandbox, late, 0)
    suite.code(sandbox.audit(late), OK, "the audit of its ledger is clean")
    suite.code(sandbox.audit(), OK, "and that of all ledgers")


if __name__ == "__main__":
    harness.main(forgets, join, place=MEMORY if os.access(MEMORY, os.W_OK) else None)
