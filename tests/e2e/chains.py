"""The governance chain as replicas keep and serve it: its file, and what any client is told."""

import os
import socket
import ssl
import struct

MAGIC = b"onus-chain-v1\n"
MESSAGE_CHAIN_QUERY, MESSAGE_CHAIN_REPLY = 36, 70


def path(sandbox, replica):
    return os.path.join(sandbox.home(replica), "data", "chain")


def content(sandbox, replica):
    """The file's bytes; empty when there is none."""
    try:
        with open(path(sandbox, replica), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def links(file):
    """The links in a file, as far as they are whole."""
    if not file.startswith(MAGIC):
        return []
    found, at = [], len(MAGIC)
    while at + 4 <= len(file):
        size = struct.unpack_from(">I", file, at)[0]
        found.append(file[at + 4:at + 4 + size])
        at += 4 + size
    return found[1:]  # the first is the header


def varint(number):
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number_at(payload, at):
    number = shift = 0
    while True:
        byte = payload[at]
        number |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def reply(payload):
    """A ChainReplyMessage: the newest configuration, and links."""
    config, found, at = 0, [], 0
    while at < len(payload):
        tag, at = payload[at], at + 1
        number, at = number_at(payload, at)
        if tag == 0x08:
            config = number
        else:
            found.append(payload[at:at + number])
            at += number
    return config, found


def receive(sock, size):
    received = b""
    while len(received) < size:
        piece = sock.recv(size - len(received))
        if not piece:
            raise ConnectionError("closed")
        received += piece
    return received


class Asker:
    """A client that does nothing but ask one replica for links."""

    def __init__(self, sandbox, replica):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        port = sandbox.listens(replica)[1]
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def ask(self, config, times=1):
        payload = b"\x08" + varint(config)
        self.sock.sendall(times * (struct.pack(">IB", len(payload), MESSAGE_CHAIN_QUERY) + payload))

    def answer(self):
        size, kind = struct.unpack(">IB", receive(self.sock, 5))
        payload = receive(self.sock, size)
        if kind != MESSAGE_CHAIN_REPLY:
            raise ValueError(f"a message of kind {kind}")
        return reply(payload)


def ask(sandbox, replica, config):
    """The newest configuration, and the links behind `config`, of this replica."""
    with Asker(sandbox, replica) as asker:
        asker.ask(config)
        return asker.answer()
