"""Places that keep values for several processes, behind one small interface."""

import asyncio
from collections import deque
from multiprocessing.managers import DictProxy, SyncManager
from pathlib import Path

from benchmarks.dataplane.peers import SPAWN
from benchmarks.dataplane.servers import RespServer

from tercio.engines.embedded.state import open_state
from tercio.state.state import State

VALUE = b"v" * 200


class Store:
    """Made in the measuring process, sent to each of the others, and opened there."""

    def prepare(self, directory: Path) -> None:
        """Start what keeps the values."""

    def servers(self) -> list[int]:
        """Processes beside the workers, whose CPU time counts."""
        return []

    def close(self) -> None:
        """End what `prepare` started."""

    async def open(self) -> None:
        """In a worker."""

    async def get(self, key: str) -> bytes | None:
        raise NotImplementedError

    async def set(self, key: str) -> None:
        """Store `VALUE`."""
        raise NotImplementedError

    async def incr(self, key: str) -> int:
        raise NotImplementedError


class Embedded(Store):
    """Tercio's state over LMDB, in a directory in memory."""

    engine = "lmdb"

    def prepare(self, directory: Path) -> None:
        path = directory / "state"
        path.mkdir()
        self._place = {
            "engine": self.engine, "path": str(path), "size": 64 << 20, "sync": "none", "epoch": 0.0
        }  # fmt: skip

    async def open(self) -> None:
        self._state = State(open_state(self._place))

    async def get(self, key: str) -> bytes | None:
        return await self._state.get(key, type=bytes)

    async def set(self, key: str) -> None:
        await self._state.set(key, VALUE)

    async def incr(self, key: str) -> int:
        return await self._state.incr(key)


class Sqlite(Embedded):
    """The same over SQLite, as where LMDB's lock outlives a crash."""

    engine = "sqlite"


class RedisPy(Store):
    """redis-py on a Unix socket."""

    _server: RespServer | None = None

    def prepare(self, directory: Path) -> None:
        self._server = RespServer(directory)
        self._path = str(self._server.path)

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path}

    def servers(self) -> list[int]:
        return [self._server.pid] if self._server else []

    def close(self) -> None:
        if self._server:
            self._server.close()

    async def open(self) -> None:
        import redis.asyncio

        self._redis: redis.asyncio.Redis = redis.asyncio.Redis(unix_socket_path=self._path)

    async def get(self, key: str) -> bytes | None:
        value = await self._redis.get(key)
        assert value is None or isinstance(value, bytes)
        return value

    async def set(self, key: str) -> None:
        await self._redis.set(key, VALUE)

    async def incr(self, key: str) -> int:
        value: int = await self._redis.incr(key)
        return value


class LeanRedis(RedisPy):
    """The least that Redis can cost in Python: hiredis, one connection, one write a turn."""

    async def open(self) -> None:
        import hiredis

        waiting = self._waiting = deque[asyncio.Future[object]]()

        class Answers(asyncio.Protocol):
            def __init__(self) -> None:
                self._reader = hiredis.Reader()

            def data_received(self, data: bytes) -> None:
                self._reader.feed(data)
                while (answer := self._reader.gets()) is not False:
                    waiting.popleft().set_result(answer)

        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_unix_connection(Answers, self._path)
        self._pack = hiredis.pack_command
        self._parts: list[bytes] = []

    def _ask(self, *command: str | bytes) -> "asyncio.Future[object]":
        answer: asyncio.Future[object] = self._loop.create_future()
        self._waiting.append(answer)
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(self._pack(command))  # type: ignore[arg-type]
        return answer

    def _flush(self) -> None:
        self._transport.write(b"".join(self._parts))
        self._parts.clear()

    async def get(self, key: str) -> bytes | None:
        value = await self._ask("GET", key)
        assert value is None or isinstance(value, bytes)
        return value

    async def set(self, key: str) -> None:
        await self._ask("SET", key, VALUE)

    async def incr(self, key: str) -> int:
        value = await self._ask("INCR", key)
        assert isinstance(value, int)
        return value


class Manager(Store):
    """A dict and a lock of a multiprocessing.Manager."""

    _keeper: SyncManager | None = None

    def prepare(self, directory: Path) -> None:
        self._keeper = SPAWN.Manager()
        self._values: DictProxy[str, object] = self._keeper.dict()
        self._lock = self._keeper.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"_values": self._values, "_lock": self._lock}

    def servers(self) -> list[int]:
        return [self._keeper._process.pid] if self._keeper else []  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._keeper:
            self._keeper.shutdown()

    async def get(self, key: str) -> bytes | None:
        value = self._values.get(key)
        assert value is None or isinstance(value, bytes)
        return value

    async def set(self, key: str) -> None:
        self._values[key] = VALUE

    async def incr(self, key: str) -> int:
        with self._lock:
            before = self._values.get(key, 0)
            assert isinstance(before, int)
            self._values[key] = before + 1
            return before + 1
