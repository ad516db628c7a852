"""Keep state in Redis or Valkey: every verb is one step of the server.

A cancelled call leaves its command under way; its reply is thrown away, and an item that it took
out of a queue goes back. A fork is noticed: the child makes connections of its own.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import hiredis

from tercio.engines.loopthread import LoopThread
from tercio.engines.redis.commands import Names, escaped, plan_of
from tercio.engines.redis.connection import Connection
from tercio.engines.redis.handshake import tls_context
from tercio.engines.redis.readiness import Readiness
from tercio.engines.redis.refusals import is_demoted, translated
from tercio.engines.redis.scripts import PUT_BACK
from tercio.engines.redis.url import Address
from tercio.engines.redis.values import from_stored
from tercio.engines.redis.wire import Argument, Reply
from tercio.errors import StateBusy, StateUnavailable, WrongType
from tercio.state.verbs import (
    Clear,
    Delete,
    Fill,
    GetMany,
    Measure,
    Page,
    Pop,
    PutBack,
    Scan,
    Sweep,
    Verb,
)

R = TypeVar("R")

_log: Final = logging.getLogger("tercio.redis")

_CLEAR: Final = 1000  # keys that the server looks at in one command
_PATIENCE: Final = 2.0  # for a thread, beyond the time-out of its command


class RedisState:
    """A `StateEngine` over one server. Works in any number of loops, one connection each."""

    is_near = False

    def __init__(self, address: Address, *, prefix: str = "tercio:", name: str = "tercio") -> None:
        """``name`` is what the server shows of us. Raises `ConfigError` for bad certificates."""
        tls_context(address)
        self._address = address
        self._names = Names.under(prefix)
        self._name = name
        self._operations = 0
        self._inherited: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.readiness = Readiness(f"{self._address} (state)")
        """Of the loop that used it first."""
        self._connections: dict[asyncio.AbstractEventLoop, Connection] = {}
        self._last: Connection | None = None
        self._thread = LoopThread("tercio redis")
        self._closed = False

    def start(self) -> None:
        """Connect in the running loop, so that `readiness` knows before the first verb."""
        self._connection()

    async def run(self, verb: Verb[R]) -> R:
        """See `StateEngine`."""
        self._operations += 1
        special = _SPECIAL.get(type(verb))
        if special is not None:
            return cast("R", await special(self, verb))
        return cast("R", await self._carry_out(verb))

    def run_now(self, verb: Verb[R]) -> R:
        """See `StateEngine`. The command goes through a loop in a thread of ours."""
        self._check()
        limit = self._address.timeout + _PATIENCE
        try:
            return self._thread.run(self.run(verb), limit)
        except TimeoutError as error:
            raise StateUnavailable(
                f"{self._address} did not answer within {limit:g} s; whether the command was "
                "carried out is unknown"
            ) from error

    def counters(self) -> dict[str, int]:
        """operations, redis_reconnects, redis_timeouts, redis_refused (failed unsent)."""
        connections = list(self._connections.values())
        return {
            "operations": self._operations,
            "redis_reconnects": sum(max(0, one.connects - 1) for one in connections),
            "redis_timeouts": sum(one.timeouts for one in connections),
            "redis_refused": sum(one.refused for one in connections),
        }

    def close_now(self) -> None:
        """See `StateEngine`."""
        self._closed = True
        for loop, connection in list(self._connections.items()):
            if loop.is_running():
                loop.call_soon_threadsafe(connection.close)
        if self._thread.is_running:
            self._thread.close(_PATIENCE)

    def abandon(self) -> None:
        """See `StateEngine`. Connections are made anew in each process."""

    async def close(self) -> None:
        """See `StateEngine`."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, connection in list(self._connections.items()):
            if loop is here:
                connection.close()
                await connection.wait_closed()
            elif self._thread.is_running and loop is self._thread.loop:
                await asyncio.wrap_future(
                    asyncio.run_coroutine_threadsafe(_closed(connection), loop)
                )
            elif loop.is_running():
                loop.call_soon_threadsafe(connection.close)
        if self._thread.is_running:
            await asyncio.to_thread(self._thread.close, _PATIENCE)

    def _check(self) -> None:
        if self._pid != os.getpid():
            # What was inherited is the parent's. It is kept: closing it could say goodbye in the
            # parent's name.
            self._inherited.append((self._connections, self._thread))
            self._begin()
        if self._closed:
            raise StateUnavailable(f"{self._address}: it is closed; nothing was sent")

    def _connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last.loop is loop and not self._closed and self._pid == os.getpid():
            return last
        self._check()
        connection = self._connections.get(loop)
        if connection is None:
            # Loops come and go in a script that runs several, one after the other.
            for gone in [known for known in self._connections if known.is_closed()]:
                del self._connections[gone]
            first = not self._connections
            readiness = self.readiness if first else Readiness(f"{self._address} (state)")
            connection = Connection(self._address, readiness, name=self._name)
            self._connections[loop] = connection
        self._last = connection
        return connection

    async def _carry_out(self, verb: Verb[Any]) -> Any:
        # Each call costs here: a command has no more of them than it needs.
        plan = plan_of(verb)
        connection = self._connection()
        command = plan.command(self._names, verb)
        if plan.script is None:
            reply = await connection.call(*command)
        else:
            reply = await connection.call(b"EVALSHA", plan.script.sha, *command)
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
                reply = await connection.call(b"EVAL", plan.script.source, *command)
        return plan.read(self._taken(connection, reply))

    async def _ask(self, *command: Argument) -> Any:
        connection = self._connection()
        return self._taken(connection, await connection.call(*command))

    def _taken(self, connection: Connection, reply: Reply) -> Any:
        if isinstance(reply, hiredis.ReplyError):
            if is_demoted(reply):
                connection.drop("the server is no master any more")
            raise translated(reply)
        return reply

    async def _many(self, verb: GetMany | Delete) -> Any:
        """What the server would refuse to do for no keys at all."""
        if verb.keys:
            return await self._carry_out(verb)
        return 0 if isinstance(verb, Delete) else []

    async def _pop(self, verb: Pop) -> bytes | None:
        """Take an item; if the caller goes away meanwhile, put it back."""
        taking = asyncio.ensure_future(self._carry_out(verb))
        try:
            taken = await asyncio.shield(taking)
            return None if taken is None else cast("bytes", taken[0])
        except asyncio.CancelledError:
            taking.add_done_callback(lambda taken: self._put_back(verb.key, taken))
            raise

    def _put_back(self, key: bytes, taken: "asyncio.Future[list[Any] | None]") -> None:
        if taken.cancelled() or taken.exception() is not None or taken.result() is None:
            return
        item, left = cast("list[Any]", taken.result())
        verb = PutBack(key, item, None if left < 0 else left / 1000)
        command = plan_of(verb).command(self._names, verb)
        try:
            # The whole script: nobody would wait for NOSCRIPT here.
            self._connection().call(b"EVAL", PUT_BACK.source, *command)
        except (StateUnavailable, StateBusy) as error:
            _log.warning("an item taken from a queue by a cancelled call is lost: %s", error)

    async def _page(self, prefix: bytes, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
        pattern = escaped(self._names.data + prefix) + b"*"
        after, keys = await self._ask(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", count)
        return after, list(dict.fromkeys(keys))

    async def _scan(self, verb: Scan) -> Page:
        after, keys = await self._page(verb.prefix, verb.cursor or b"0", verb.count)
        items: list[tuple[bytes, bytes]] = []
        # One command each: values of a page in one reply could be larger than a reply may be.
        replies = [self._connection().call(b"GET", key) for key in keys]
        for key, reply in zip(keys, await asyncio.gather(*replies), strict=True):
            if isinstance(reply, bytes):
                with suppress(WrongType, UnicodeDecodeError):  # not written by us
                    key.decode()
                    items.append((key[len(self._names.data) :], from_stored(reply)))
        return Page(items, None if after == b"0" else after)

    async def _clear(self, verb: Clear) -> int:
        # All of it: who stopped in between would begin again, at keys that are no concern of his.
        removed, cursor = 0, b"0"
        while True:
            cursor, keys = await self._page(verb.prefix, cursor, max(_CLEAR, verb.count))
            if keys:
                removed += await self._ask(b"UNLINK", *keys)
            if cursor == b"0":
                return removed

    async def _measure(self, verb: Measure) -> Fill:
        text = cast("bytes", await self._ask(b"INFO", b"memory"))
        keys = cast("int", await self._ask(b"DBSIZE"))
        found = dict(line.split(b":", 1) for line in text.split(b"\r\n") if b":" in line)
        return Fill(int(found.get(b"used_memory", 0)), int(found.get(b"maxmemory", 0)), keys)

    async def _sweep(self, verb: Sweep) -> int:
        return 0  # the server does it by itself


_SPECIAL: Final[dict[type[Verb[Any]], Callable[[RedisState, Any], Awaitable[object]]]] = {
    Pop: RedisState._pop,
    GetMany: RedisState._many,
    Delete: RedisState._many,
    Scan: RedisState._scan,
    Clear: RedisState._clear,
    Measure: RedisState._measure,
    Sweep: RedisState._sweep,
}
"""What takes several commands, or none, or must be seen to; all else is one of `commands`."""


async def _closed(connection: Connection) -> None:
    connection.close()
    await connection.wait_closed()
