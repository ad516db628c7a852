"""One connection to a server: commands out, replies in, in the same order. No second life.

Each command waits in a FIFO for its reply. One whose caller has gone stays there: its reply is
read and thrown away, so that no reply can reach another caller. After a time-out or anything that
is no RESP the connection is given up as a whole, for the same reason.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import hiredis

from tercio.errors import StateBusy, StateUnavailable

Reply: TypeAlias = object
"""bytes, int, None, a list of replies, or a `hiredis.ReplyError`, which is not raised."""
Argument: TypeAlias = bytes | str | int

MOST_WAITING: Final = 10_000
"""Commands of one connection that may wait for their replies."""
MOST_BYTES: Final = 64 << 20
"""Bytes that may wait to be sent."""
_LATE: Final = 0.05

_NOTHING: Final = object()
_PUSH: Final = hiredis.PushNotification


def packed(command: tuple[Argument, ...]) -> bytes:
    """A command as it is sent."""
    return hiredis.pack_command(command)  # type: ignore[arg-type, no-any-return]


def fail(future: asyncio.Future[Reply], reason: str) -> None:
    """End a command with `StateUnavailable`; nobody is blamed if nobody looks at it."""
    future.set_exception(StateUnavailable(reason))
    future.exception()


class Wire(asyncio.Protocol):
    """A connection that is open. ``ended`` is called once, with the reason, when it is not."""

    def __init__(
        self,
        timeout: float,
        max_reply: int,
        ended: Callable[["Wire", str], None],
        pushed: Callable[[list[bytes]], None] | None = None,
    ) -> None:
        self.timeouts = 0
        self.reason = ""
        """Why it has ended; empty before."""
        self._timeout = timeout
        self._max_reply = max_reply
        self._ended = ended
        self._pushed = pushed
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._incomplete = 0  # bytes of the reply that is not whole yet
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()  # with their deadlines
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is closed."""

    def call(self, *command: Argument) -> asyncio.Future[Reply]:
        """Send a command with this turn of the loop. Raises `StateBusy` when too much waits.

        The future ends with the reply, or with `StateUnavailable`.
        """
        return self.send(packed(command), self._loop.create_future())

    def send(
        self, command: bytes, future: asyncio.Future[Reply], deadline: float = 0.0
    ) -> asyncio.Future[Reply]:
        """The same with a command that is packed and a future that is there already."""
        if self.reason:
            raise StateUnavailable(f"{self.reason}; nothing was sent")
        if len(self._waiting) >= MOST_WAITING or self._out_bytes >= MOST_BYTES:
            raise StateBusy(
                f"{len(self._waiting)} commands with {self._out_bytes} bytes wait for the server "
                "already; nothing was sent"
            )
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        self._out_bytes += len(command)
        deadline = deadline or self._loop.time() + self._timeout
        self._waiting.append((future, deadline))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look, deadline)
        return future

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for a reply."""
        return not self._waiting

    @property
    def heard(self) -> float:
        """When something came last, by the loop's clock."""
        return self._heard

    def end(self, reason: str) -> None:
        """Give the connection up. What waits ends with `StateUnavailable`."""
        if self.reason:
            return
        self.reason = reason
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._out.clear()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                fail(future, f"{reason}; whether the command was carried out is unknown")
        self._ended(self, reason)

    def finish(self) -> None:
        """Send what waits to be sent, and then close; replies are not waited for."""
        self._flush()
        if self._transport is not None and not self.reason:
            self._transport.close()

    # The rest is what asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MOST_BYTES // 2)
        self._heard = self._loop.time()

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        self._heard = self._loop.time()
        self._incomplete += len(data)
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                self._incomplete = reader.len()
                kind = type(reply)
                if kind is _PUSH or (
                    # RESP2 has no type of its own for what nobody asked for.
                    self._pushed is not None and kind is list and reply and reply[0] == b"message"
                ):
                    if reply[0] == b"message":
                        if self._pushed is not None:
                            self._pushed(reply)
                        continue
                    if reply[0] not in (b"subscribe", b"unsubscribe"):
                        continue
                if not waiting:
                    self.end("the server sent a reply that nobody asked for")
                    return
                future, _ = waiting.popleft()
                if not future.done():
                    future.set_result(reply)
                if self.reason:
                    return
        except (hiredis.ProtocolError, MemoryError, RecursionError) as error:
            self.end(f"the server does not speak RESP: {error or type(error).__name__}")
            return
        if self._incomplete > self._max_reply:
            self.end(f"the server sends a reply of more than {self._max_reply} bytes (max_reply)")

    def eof_received(self) -> None:
        self.end("the server closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        # Before `end`: asyncio's transport, closed after its buffer was sent, would take an abort()
        # in here for news and call this a second time, without its socket (3.11).
        self._transport = None
        self.end(f"the connection broke: {error}" if error else "the connection was closed")
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        # The buffer is of the transport: nothing more is taken until half of it is gone.
        self._out_bytes += MOST_BYTES

    def resume_writing(self) -> None:
        self._out_bytes -= MOST_BYTES

    def _flush(self) -> None:
        out = self._out
        if not out or self._transport is None:
            return
        self._out = []
        for part in out:
            self._out_bytes -= len(part)
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _look(self, due: float) -> None:
        """Give the connection up if the oldest command had no reply in time."""
        self._timer = None
        if not self._waiting:
            return
        now = self._loop.time()
        deadline = self._waiting[0][1]
        if deadline > now:
            self._timer = self._loop.call_at(deadline, self._look, deadline)
        elif now - due > _LATE:
            # This loop was held up itself: the reply may lie in the socket, unread.
            self._timer = self._loop.call_later(_LATE, self._look, now + _LATE)
        else:
            self.timeouts += 1
            self.end(f"the server did not answer within {self._timeout:g} s")
