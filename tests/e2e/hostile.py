#!/usr/bin/env python3
"""Strangers at every port: noise, frames over the limit, connections that never say anything.

What they send is dropped and logged once, and the service does not notice: it commits before,
meanwhile and afterwards, with the memory it had before.
"""

import os
import random
import socket
import ssl
import struct
import time

import harness
from harness import OK, Sandbox

SEED = 20261122
MESSAGE_REQUEST, MESSAGE_STATUS_QUERY, MESSAGE_PRE_PREPARE = 32, 33, 1
MESSAGE_CHAIN_QUERY = 36


def ports_of(sandbox):
    for replica in range(sandbox.count):
        yield "peer", replica, sandbox.peer_port(replica)
        yield "client", replica, sandbox.client_port(replica)


def dropped(sock, timeout=15):
    """Does the other end close this connection?"""
    sock.settimeout(timeout)
    try:
        while sock.recv(65536):
            pass
        return True
    except (ConnectionError, ssl.SSLError):
        return True
    except (TimeoutError, OSError):
        return False


def send(sock, content):
    """Send as much as the other end takes before it hangs up."""
    try:
        sock.sendall(content)
    except (OSError, ssl.SSLError):
        pass


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def connect_tls(port):
    """A TLS link to a clients' port, as any stranger can make one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context.wrap_socket(connect(port))


def frame(kind, payload, size=None):
    return struct.pack(">IB", len(payload) if size is None else size, kind) + payload


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def log_lines(sandbox, replica):
    with open(sandbox.log(replica), encoding="utf-8", errors="replace") as file:
        return [line for line in file if " warn " in line or " error " in line]


def noise(suite, sandbox, rng):
    """Random bytes, and bytes that begin like TLS, at all ports."""
    survived = []
    for kind, replica, port in ports_of(sandbox):
        for content in (rng.randbytes(70000), b"\x16\x03\x01\x02\x00" + rng.randbytes(4096),
                        b"\x16\x03\x03\xff\xff" + rng.randbytes(70000), b"GET / HTTP/1.1\r\n\r\n"):
            with connect(port) as sock:
                send(sock, content)
                if not dropped(sock):
                    survived.append(f"{kind} port of replica {replica}: {content[:8].hex()}")
    suite.check(not survived, "random bytes are dropped at every port", "\n".join(survived))


def hostile_frames(suite, sandbox, rng):
    """Frames over the limit, of unknown kinds, of kinds for replicas, and malformed ones."""
    cases = {
        "a frame over the limit": frame(MESSAGE_REQUEST, rng.randbytes(1000), 0x7FFFFFFF),
        "a frame just over the limit": frame(MESSAGE_REQUEST, b"", (1 << 20) + 1),
        "a frame of an unknown kind": frame(200, b"x"),
        "a frame that only replicas send": frame(MESSAGE_PRE_PREPARE, b"\x0a\x00"),
        "a request of random bytes": frame(MESSAGE_REQUEST, rng.randbytes(5000)),
        "an empty request": frame(MESSAGE_REQUEST, b""),
        "a status query with a payload": frame(MESSAGE_STATUS_QUERY, b"\x08\x01"),
        "a chain query for no configuration": frame(MESSAGE_CHAIN_QUERY, b""),
    }
    time.sleep(2.1)  # logs are limited by the second: begin with a quiet one
    for title, content in cases.items():
        survived, lines = [], 0
        for replica in range(sandbox.count):
            before = len(log_lines(sandbox, replica))
            with connect_tls(sandbox.client_port(replica)) as sock:
                send(sock, content)
                if not dropped(sock):
                    survived.append(f"replica {replica}")
            harness.wait_until(lambda r=replica, b=before: len(log_lines(sandbox, r)) > b, 3)
            lines += len(log_lines(sandbox, replica)) - before
        suite.check(not survived, f"{title} ends the link", "\n".join(survived))
        suite.check(lines == sandbox.count, f"{title} is logged once",
                    f"{lines} lines in the logs of {sandbox.count} replicas")
        time.sleep(0.3)


def strangers_at_peers(suite, sandbox):
    """A peers' port wants a certificate that genesis names."""
    survived = []
    for replica in range(sandbox.count):
        try:
            with connect_tls(sandbox.peer_port(replica)) as sock:
                send(sock, frame(MESSAGE_PRE_PREPARE, b"x" * 100))
                if not dropped(sock):
                    survived.append(f"replica {replica}")
        except (ssl.SSLError, OSError):
            pass
    suite.check(not survived, "a stranger does not get in at a peers' port", "\n".join(survived))


def half_open(suite, sandbox):
    """Hundreds of connections that say nothing, and some that say half of something."""
    socks = []
    try:
        for _, replica, port in ports_of(sandbox):
            for number in range(300 if replica == 0 else 30):
                sock = socket.create_connection(("127.0.0.1", port), timeout=10)
                socks.append(sock)
                if number % 3 == 1:
                    send(sock, b"\x16\x03\x01\x01\x00\x01")
        result = sandbox.onus("submit", "kv.put", "among", "half-open")
        suite.code(result, OK, "commits go on among hundreds of half-open connections")
        silent = [sock for sock in socks[::25] if not dropped(sock)]
        suite.check(not silent, "half-open connections are dropped in time",
                    f"{len(silent)} of {len(socks[::25])} looked at are still open")
    finally:
        for sock in socks:
            sock.close()


def dribble(suite, sandbox):
    """Up to a link's limit of frames announced and never completed, on many links."""
    socks = []
    try:
        for _ in range(40):
            sock = connect_tls(sandbox.client_port(0))
            socks.append(sock)
            send(sock, frame(MESSAGE_REQUEST, b"\x00" * 500000, 1 << 20))
        result = sandbox.onus("submit", "kv.put", "among", "dribblers")
        suite.code(result, OK, "commits go on among frames that never end")
    finally:
        for sock in socks:
            sock.close()


def strangers(suite):
    rng = random.Random(SEED)
    sandbox = Sandbox(suite).up()
    suite.code(sandbox.ready(), OK, "the service commits before")
    pids = sandbox.pids()
    before = {replica: rss_kib(pid) for replica, pid in pids.items()}
    noise(suite, sandbox, rng)
    strangers_at_peers(suite, sandbox)
    hostile_frames(suite, sandbox, rng)
    dribble(suite, sandbox)
    half_open(suite, sandbox)
    suite.check(sandbox.pids() == pids, "no replica ended", f"{pids} before, {sandbox.pids()} now")
    result, _ = sandbox.status()
    suite.code(result, OK, "onus status finds nothing wrong afterwards")
    suite.code(sandbox.onus("submit", "kv.get", "among"), OK, "the service commits afterwards")
    grown = {replica: rss_kib(pid) - before[replica] for replica, pid in pids.items()}
    suite.check(max(grown.values()) < 128 << 10, "and its memory is bounded",
                f"grown by {grown} KiB")
    sizes = {r: os.path.getsize(sandbox.log(r)) for r in range(sandbox.count)}
    suite.check(max(sizes.values()) < 1 << 20, "and so are the logs", f"bytes: {sizes}")
    sandbox.down()


if __name__ == "__main__":
    harness.main(strangers)
