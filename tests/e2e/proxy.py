"""A network that misbehaves: every link between replicas goes through here, and can be cut, held,
slowed, throttled and scrambled by itself.

Each replica is given another port to listen at for its peers; on the one that genesis names, where
the others call, the proxy listens and passes bytes on. Replicas call each other and send on the
link they called on alone, so a link here is one direction: what `source` has to say to
`destination`. TLS hides who calls; the system's table of connections tells which process it is.

The proxy runs on a thread of its own; its rules are changed from any other.
"""

import asyncio
import contextlib
import os
import random
import re
import threading

LISTEN_STEP = 5  # from the port that genesis names to the one where the replica listens
CHUNK = 65536
QUEUE_CHUNKS = 64  # what is under way in one direction; beyond it the sender has to wait
CONNECT_TIMEOUT_S = 5
CALLER_TRIES = 3


class Link:
    """What happens to what `source` says to `destination`, and to the answers on that link."""

    def __init__(self, source, destination):
        self.source, self.destination = source, destination
        self.reset()
        self.connections = set()
        self.calls = 0  # connections that got through, ever
        self.bytes = 0
        self.scrambles = 0  # how many were done

    def reset(self):
        self.cut = False  # connections are closed, and calls are hung up on
        self.held = False  # connections stand and carry nothing, as with a cable pulled out
        self.delay_s = self.jitter_s = 0.0
        self.bytes_per_s = 0  # 0: as fast as it goes
        self.scramble = 0  # so many of the next pieces have their halves exchanged


class Proxy:
    """Put between the replicas of a sandbox that does not run; close() ends it."""

    def __init__(self, sandbox, seed=0):
        self.sandbox = sandbox
        self.random = random.Random(seed)
        pairs = [(s, d) for s in range(sandbox.count) for d in range(sandbox.count) if s != d]
        self.links = {pair: Link(*pair) for pair in pairs}
        for replica in range(sandbox.count):
            self._redirect(replica)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        for replica in range(sandbox.count):
            asyncio.run_coroutine_threadsafe(self._listen(replica), self.loop).result()

    # ---- rules, from any thread ------------------------------------------------------------------

    def between(self, source=None, destination=None):
        """The links from and to these, each a replica, several of them, or None for any."""
        def fits(wanted, replica):
            return wanted is None or replica == wanted or \
                not isinstance(wanted, int) and replica in wanted
        return [link for (s, d), link in self.links.items()
                if fits(source, s) and fits(destination, d)]

    def around(self, replica):
        """All links from and to a replica."""
        return self.between(source=replica) + self.between(destination=replica)

    def cut(self, links):
        for link in links:
            link.cut = True
        self._in_loop(self._close_connections, links)

    def hold(self, links):
        for link in links:
            link.held = True

    def delay(self, links, seconds, jitter=0.0):
        for link in links:
            link.delay_s, link.jitter_s = seconds, jitter

    def throttle(self, links, bytes_per_s):
        for link in links:
            link.bytes_per_s = bytes_per_s

    def scramble(self, links, pieces=1):
        """Exchange the halves of the next pieces, as if the network had mixed up segments."""
        for link in links:
            link.scramble = pieces

    def heal(self, links=None):
        """No rules any more; what was held goes on its way."""
        for link in self.links.values() if links is None else links:
            link.reset()

    def close(self):
        async def end():
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    # ---- the thread ------------------------------------------------------------------------------

    def _redirect(self, replica):
        path = self.sandbox.config(replica)
        port = self.sandbox.peer_port(replica)
        with open(path, encoding="utf-8") as file:
            content = file.read()
        changed = re.sub(rf'(?m)^(  peer: "127\.0\.0\.1:){port}"$',
                         rf'\g<1>{port + LISTEN_STEP}"', content)
        assert changed != content, f"{path} does not listen at port {port}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(changed)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _in_loop(self, function, *arguments):
        done = threading.Event()

        def call():
            function(*arguments)
            done.set()

        self.loop.call_soon_threadsafe(call)
        done.wait()

    def _close_connections(self, links):
        for link in links:
            for writer in list(link.connections):
                writer.transport.abort()

    async def _listen(self, replica):
        def called(reader, writer):
            return self._called(replica, reader, writer)
        await asyncio.start_server(called, "127.0.0.1", self.sandbox.peer_port(replica),
                                   limit=CHUNK)

    async def _called(self, destination, reader, writer):
        caller = self._caller(writer)
        for _ in range(CALLER_TRIES):
            if caller is None:  # a process that has just been started may not be known yet
                await asyncio.sleep(0.05)
                caller = self._caller(writer)
        link = self.links.get((caller, destination))
        if link is None or link.cut:
            writer.transport.abort()
            return
        link.connections.add(writer)
        try:
            await self._connect(link, reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass
        finally:
            link.connections.discard(writer)
            writer.transport.abort()

    async def _connect(self, link, reader, writer):
        port = self.sandbox.peer_port(link.destination) + LISTEN_STEP
        far_reader, far_writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", port, limit=CHUNK), CONNECT_TIMEOUT_S)
        link.connections.add(far_writer)
        link.calls += 1
        pumps = [asyncio.ensure_future(task) for task in (
            *self._pumps(link, reader, far_writer), *self._pumps(link, far_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            link.connections.discard(far_writer)
            far_writer.transport.abort()

    def _pumps(self, link, reader, writer):
        """Two halves of one direction: what comes in waits in a queue until it is due."""
        queue = asyncio.Queue(QUEUE_CHUNKS)

        async def take():
            now = self.loop.time
            due = 0.0
            while piece := await reader.read(CHUNK):
                link.bytes += len(piece)
                if link.scramble and len(piece) > 1:
                    link.scramble -= 1
                    link.scrambles += 1
                    piece = piece[len(piece) // 2:] + piece[:len(piece) // 2]
                # One connection keeps its order, whatever the jitter; between links it is lost.
                due = max(due, now() + link.delay_s + self.random.random() * link.jitter_s)
                if link.bytes_per_s:
                    due += len(piece) / link.bytes_per_s
                await queue.put((due, piece))

        async def give():
            while True:
                due, piece = await queue.get()
                late = due - self.loop.time()
                if late > 0:
                    await asyncio.sleep(late)
                while link.held:
                    await asyncio.sleep(0.01)
                writer.write(piece)
                await writer.drain()

        return take(), give()

    # ---- who calls -------------------------------------------------------------------------------

    def _caller(self, writer):
        """The replica whose process holds the other end of this connection; None: nobody's."""
        peer = writer.get_extra_info("peername")
        inode = inode_of(*peer) if peer else None
        if inode is None:
            return None
        for replica, pid in self.sandbox.pids().items():
            if pid and f"socket:[{inode}]" in open_files(pid):
                return replica
        return None


def inode_of(host, port):
    """Of the local socket with this address, from the table of TCP connections."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(host.split("."))) + f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            words = line.split()
            if words[1] == wanted:
                return words[9]
    return None


def open_files(pid):
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
