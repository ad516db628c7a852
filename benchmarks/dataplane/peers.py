"""Ways to publish to the other processes of a machine, behind one small interface."""

import asyncio
import multiprocessing
import multiprocessing.managers
import pickle
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.dataplane.servers import RespServer

if TYPE_CHECKING:
    import redis.asyncio

SPAWN = multiprocessing.get_context("spawn")

Deliver = Callable[[str, bytes], None]
"""Takes a topic and a body."""

TOPIC = "bench.topic"

_LENGTH = struct.Struct("<I")
_ROOM = 1 << 26  # bytes that a transport takes before it asks to pause: the window is less


class Peer:
    """Made in the measuring process, sent to each of the others, and joined there."""

    def prepare(self, processes: int, directory: Path) -> None:
        """Start what stands between the processes."""

    def servers(self) -> list[int]:
        """Processes beside the workers, whose CPU time counts."""
        return []

    def close(self) -> None:
        """End what `prepare` started."""

    async def join(self, me: int, deliver: Deliver) -> None:
        """In a worker: give every message of the others to ``deliver``, in the loop."""
        raise NotImplementedError

    async def publish(self, messages: list[bytes]) -> None:
        """In a worker: what one turn of the loop publishes."""
        raise NotImplementedError

    def tell(self) -> dict[str, int]:
        """In a worker, at the end: what it has counted by itself."""
        return {}


class RedisPy(Peer):
    """redis-py's pub/sub on a Unix socket; what a turn publishes is one pipeline."""

    limits = False
    _server: RespServer | None = None
    _path = ""
    _port = 0

    def prepare(self, processes: int, directory: Path) -> None:
        self._server = RespServer(directory, limits=self.limits)
        self._path = str(self._server.path)
        self._port = self._server.port

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_port": self._port}

    def servers(self) -> list[int]:
        return [self._server.pid] if self._server else []

    def close(self) -> None:
        if self._server:
            self._server.close()

    async def join(self, me: int, deliver: Deliver) -> None:
        self._redis = self._connect()
        subscription = self._redis.pubsub()
        await subscription.subscribe(TOPIC)
        await subscription.get_message(timeout=5)  # that it is subscribed

        async def listen() -> None:
            async for message in subscription.listen():
                if message["type"] == "message":
                    deliver(TOPIC, message["data"])

        self._task = asyncio.create_task(listen())

    def _connect(self) -> "redis.asyncio.Redis":
        import redis.asyncio

        return redis.asyncio.Redis(unix_socket_path=self._path)

    async def publish(self, messages: list[bytes]) -> None:
        if len(messages) == 1:
            await self._redis.publish(TOPIC, messages[0])
            return
        pipeline = self._redis.pipeline(transaction=False)
        for message in messages:
            pipeline.publish(TOPIC, message)
        await pipeline.execute()


class RedisPyTcp(RedisPy):
    """The same over TCP, as it connects by default."""

    def _connect(self) -> "redis.asyncio.Redis":
        import redis.asyncio

        return redis.asyncio.Redis(port=self._port)


class LeanRedis(RedisPy):
    """The least that Redis can cost in Python: hiredis, and no wait for an answer.

    One connection publishes what a turn has in one write, another one receives.
    """

    async def join(self, me: int, deliver: Deliver) -> None:
        import hiredis

        class Listening(asyncio.Protocol):
            def __init__(self) -> None:
                self._reader = hiredis.Reader()

            def data_received(self, data: bytes) -> None:
                self._reader.feed(data)
                while (message := self._reader.gets()) is not False:
                    if message[0] == b"message":
                        deliver(TOPIC, message[2])
                    else:
                        subscribed.set()

        subscribed = asyncio.Event()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(Listening, self._path)
        transport.write(b"SUBSCRIBE bench.topic\r\n")
        await subscribed.wait()
        self._writing, _ = await loop.create_unix_connection(asyncio.Protocol, self._path)
        self._writing.set_write_buffer_limits(_ROOM)

    async def publish(self, messages: list[bytes]) -> None:
        parts: list[bytes] = []
        for message in messages:
            parts.append(b"*3\r\n$7\r\nPUBLISH\r\n$11\r\nbench.topic\r\n$%d\r\n" % len(message))
            parts += message, b"\r\n"
        self._writing.write(b"".join(parts))


class _Frames(asyncio.Protocol):
    """A stream of messages with their lengths before them."""

    transport: asyncio.WriteTransport

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._parts: list[bytes] = []
        self._have = 0
        self._need = _LENGTH.size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(_ROOM)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return  # joined once it is complete: a long message is not copied for each piece
        if len(self._parts) > 1:
            data = b"".join(self._parts)
        at, size, header = 0, len(data), _LENGTH.size
        while size - at >= header:
            end = at + header + _LENGTH.unpack_from(data, at)[0]
            if end > size:
                break
            self._deliver(TOPIC, data[at + header : end])
            at = end
        rest = data[at:]
        self._parts, self._have = [rest] if rest else [], len(rest)
        self._need = header
        if len(rest) >= header:
            self._need += _LENGTH.unpack_from(rest)[0]


class Relay(Peer):
    """A primary in Python that passes on, as Node's cluster does: unpickle, pickle, send."""

    is_raw = False

    def prepare(self, processes: int, directory: Path) -> None:
        pairs = [socket.socketpair() for _ in range(processes)]
        self._ends = [end for end, _ in pairs]
        started = SPAWN.Process(
            target=_relay, args=([end for _, end in pairs], self.is_raw), daemon=True
        )
        started.start()
        for _, end in pairs:
            end.close()
        self._primary = started

    def __getstate__(self) -> dict[str, object]:
        return {"_ends": self._ends}

    def servers(self) -> list[int]:
        return [self._primary.pid or 0]

    def close(self) -> None:
        self._primary.kill()
        self._primary.join()
        for end in self._ends:
            end.close()

    async def join(self, me: int, deliver: Deliver) -> None:
        own = self._ends[me]
        for end in self._ends:
            if end is not own:
                end.close()
        take = deliver if self.is_raw else lambda _, body: deliver(*pickle.loads(body))
        loop = asyncio.get_running_loop()
        _, self._frames = await loop.create_unix_connection(lambda: _Frames(take), sock=own)

    async def publish(self, messages: list[bytes]) -> None:
        parts: list[bytes] = []
        for message in messages:
            body = message if self.is_raw else pickle.dumps((TOPIC, message))
            parts += _LENGTH.pack(len(body)), body
        self._frames.transport.write(b"".join(parts))


class RawRelay(Relay):
    """The same with bytes that nobody looks into: no topics, no types, no filter."""

    is_raw = True


def _relay(ends: list[socket.socket], is_raw: bool) -> None:
    import uvloop

    uvloop.run(_pass_on(ends, is_raw))


async def _pass_on(ends: list[socket.socket], is_raw: bool) -> None:
    loop = asyncio.get_running_loop()
    links: list[_Frames] = []
    waiting: list[list[bytes]] = [[] for _ in ends]
    is_planned = False

    def flush() -> None:
        nonlocal is_planned
        is_planned = False
        for link, parts in zip(links, waiting, strict=False):  # at the start some are missing
            if parts:
                link.transport.write(b"".join(parts))
                parts.clear()

    def from_worker(sender: int) -> Deliver:
        others = [waiting[i] for i in range(len(ends)) if i != sender]

        def deliver(_: str, body: bytes) -> None:
            nonlocal is_planned
            value = None if is_raw else pickle.loads(body)
            for parts in others:
                if value is not None:
                    body = pickle.dumps(value)
                parts += _LENGTH.pack(len(body)), body
            if not is_planned:
                is_planned = True
                loop.call_soon(flush)

        return deliver

    for number, end in enumerate(ends):
        make = partial(_Frames, from_worker(number))
        _, link = await loop.create_unix_connection(make, sock=end)
        links.append(link)
    flush()
    await asyncio.Event().wait()


class Queues(Peer):
    """A multiprocessing.Queue a process; a thread takes from it and calls the loop."""

    def prepare(self, processes: int, directory: Path) -> None:
        self._queues: list[object] = [SPAWN.Queue() for _ in range(processes)]

    async def join(self, me: int, deliver: Deliver) -> None:
        loop = asyncio.get_running_loop()
        own = self._queues[me]
        assert hasattr(own, "get")
        get = own.get

        def take() -> None:
            while True:
                loop.call_soon_threadsafe(deliver, TOPIC, get())

        threading.Thread(target=take, daemon=True).start()
        self._others = [q.put for i, q in enumerate(self._queues) if i != me]  # type: ignore[attr-defined]

    async def publish(self, messages: list[bytes]) -> None:
        for message in messages:
            for put in self._others:
                put(message)


class ManagerQueues(Queues):
    """The same with the queues of a multiprocessing.Manager, a process of its own."""

    _keeper: multiprocessing.managers.SyncManager | None = None

    def prepare(self, processes: int, directory: Path) -> None:
        self._keeper = SPAWN.Manager()
        self._queues = [self._keeper.Queue() for _ in range(processes)]

    def __getstate__(self) -> dict[str, object]:
        return {"_queues": self._queues}

    def servers(self) -> list[int]:
        return [self._keeper._process.pid] if self._keeper else []  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._keeper:
            self._keeper.shutdown()
