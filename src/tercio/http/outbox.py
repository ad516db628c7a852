"""Whether the transport of a WebSocket takes more, who waits for it, and since when in vain.

free --pause--> full --resume | nobody is there any more--> free
"""

import asyncio

from tercio.http.service import Service
from tercio.http.stalls import Stall


class Outbox:
    """What goes out may always be written; who sends much is to wait while it is full."""

    __slots__ = ("_freed", "_pong", "_service", "_stall", "_transport", "is_full")

    def __init__(self, service: Service, transport: asyncio.Transport) -> None:
        self.is_full = False
        self._service = service
        self._transport = transport
        self._freed: asyncio.Future[None] | None = None  # made while it is full
        self._pong: bytes | None = None  # to be sent when it isn't any more
        self._stall = Stall()

    def write(self, data: bytes) -> None:
        """Send ``data``, which is counted, whether or not there is room."""
        self._service.traffic.sent += len(data)
        self._transport.write(data)

    def pause(self) -> None:
        self.is_full = True
        self._freed = self._service.loop.create_future()

    def resume(self) -> None:
        self.free()
        if self._pong is not None:
            self.write(self._pong)
            self._pong = None

    def free(self) -> None:
        """Let everybody go on who waits."""
        self.is_full = False
        if self._freed is not None:
            self._freed.set_result(None)
            self._freed = None

    async def until_free(self) -> None:
        while self._freed is not None:
            # Shielded: several tasks may wait, and none may end it for the others.
            await asyncio.shield(self._freed)

    def answer_pings(self, pongs: list[bytes]) -> None:
        """One write for all that came together."""
        if self.is_full:
            # The client pings and reads nothing: RFC 6455 lets us answer the last ping only.
            self._pong = pongs[-1]
        else:
            self.write(b"".join(pongs))

    def end(self) -> None:
        """Nothing more is written but what waits."""
        self._pong = None

    def is_stuck(self, now: float) -> bool:
        """Whether bytes wait and the client reads nothing, for too long."""
        return self._stall.is_over(now, self._transport, self._service.limits.write_timeout)
