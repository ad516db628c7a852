"""What one WebSocket's client sends: read, cut into messages, and put into the inbox.

    reading --inbox full | too much for a turn | too many a second--> paused
       ^------------ there is room | it is its turn | time has passed ---|

While it is paused, what came stays uncut, and nothing more is read.
"""

import asyncio
from typing import Final, Protocol

from tercio.http import frames
from tercio.http.allowance import Allowance
from tercio.http.asgi import Message
from tercio.http.deflate import Deflate
from tercio.http.frames import FrameReader, Violation
from tercio.http.inbox import Inbox
from tercio.http.outbox import Outbox
from tercio.http.pings import Pings
from tercio.http.service import Service
from tercio.http.transports import is_hung_up
from tercio.http.turns import TURN, WEIGHT

_RECEIVE: Final = "websocket.receive"


class Owner(Protocol):
    """Whose intake it is."""

    def closed(self, code: int, reason: str) -> None:
        """The client's close frame came."""

    def fail(self, code: int, reason: str) -> None:
        """The client broke the protocol."""


class Intake:
    """A `turns.Speaker`."""

    __slots__ = (
        "_allowance",
        "_frames",
        "_is_closing",
        "_is_open",
        "_is_over",
        "_is_queued",
        "_outbox",
        "_owner",
        "_pings",
        "_service",
        "_timer",
        "_transport",
        "inbox",
        "is_paused",
    )

    def __init__(
        self,
        service: Service,
        transport: asyncio.Transport,
        owner: Owner,
        outbox: Outbox,
        pings: Pings,
    ) -> None:
        limits = service.limits
        self.inbox = Inbox(service.loop, limits.websocket_queue, self._has_room)
        self.is_paused = False
        self._service = service
        self._transport = transport
        self._owner = owner
        self._outbox = outbox  # for pongs
        self._pings = pings
        self._frames = FrameReader(limits.websocket_size)
        rate = limits.websocket_rate
        self._allowance = Allowance(rate) if rate else None
        self._timer: asyncio.TimerHandle | None = None  # until there is more of it
        self._is_queued = False  # for a turn
        self._is_open = False
        self._is_closing = False
        self._is_over = False

    @property
    def left(self) -> int:
        """Bytes that came and are not cut."""
        return self._frames.left

    @property
    def is_hung_up(self) -> bool:
        """Whether the client is gone and nobody would notice, as nobody reads."""
        return self.is_paused and not self._is_queued and is_hung_up(self._transport)

    def keep(self, data: bytes) -> None:
        """Bytes that came with the request."""
        self._frames.feed(data)

    def take(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_over:
            return
        self._frames.feed(data)
        if not self._is_open:
            # Nobody may speak before the handshake is over. What comes all the same has to wait.
            self.pause()
        elif not self.is_paused:
            self._cut(self._service.turns.share)

    def pause(self) -> None:
        """Read nothing for now."""
        if not self.is_paused and not self._transport.is_closing():
            self.is_paused = True
            self._transport.pause_reading()

    def open(self, deflate: Deflate | None) -> None:
        """The handshake is over."""
        self._frames.agree(deflate)
        self._is_open = True

    def begin_close(self) -> None:
        """Our close frame is sent: what the client said meanwhile is void, but for its answer."""
        self._is_closing = True
        self.go_on()

    def go_on(self) -> None:
        """Read again, if there is no reason left why not: first what has come already."""
        self._go_on(TURN)

    def speak(self, budget: int) -> int:
        """See `turns.Speaker`."""
        self._is_queued = False
        return self._go_on(budget)

    def end(self) -> None:
        """Forget all that came, and whatever comes."""
        self._is_over = True
        self._frames.drop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self, budget: int) -> int:
        if not self.is_paused or not self._is_open or self._is_over:
            return 0
        if self.inbox.is_full and not self._is_closing:
            return 0  # it says when there is room
        return self._cut(budget)

    def _cut(self, budget: int) -> int:
        """Take messages and control frames out of what came; what they cost."""
        read = self._frames.read
        inbox = self.inbox
        allowance = self._allowance if not self._is_closing else None
        if allowance is not None:
            allowance.refill()
        pongs: list[bytes] = []
        message: Message
        closing: tuple[int, str] | None = None
        violation: Violation | None = None
        has_to_wait = False
        left = budget
        try:
            while True:
                if left <= 0 or (allowance is not None and allowance.left < 1):
                    has_to_wait = self._frames.left > 0
                    break
                if (part := read()) is None:
                    break
                opcode, content = part
                left -= 1 + (len(content) >> WEIGHT)
                if opcode == frames.TEXT:
                    message = {"type": _RECEIVE, "text": frames.text(content)}
                elif opcode == frames.BINARY:
                    message = {"type": _RECEIVE, "bytes": content}
                elif opcode == frames.PING:
                    if allowance is not None:
                        allowance.left -= 1  # it wants an answer, as a message does
                    pongs.append(frames.frame(frames.FIN | frames.PONG, content))
                    continue
                elif opcode == frames.PONG:
                    self._pings.pong(content)
                    continue
                elif opcode == frames.CONTINUATION:
                    continue  # a part: it counts for a turn, but is nothing yet
                else:
                    closing = frames.read_close(content)
                    break
                if allowance is not None:
                    allowance.left -= 1
                # After our close frame, what the client said meanwhile is void.
                if not self._is_closing and inbox.put(message, len(content)):
                    has_to_wait = True
                    break
        except Violation as error:
            violation = error
        if pongs and not self._is_closing:
            self._outbox.answer_pings(pongs)
        if violation is not None:
            self._owner.fail(violation.code, violation.reason)
        elif closing is not None:
            self._owner.closed(*closing)
        elif has_to_wait:
            self.pause()
            self._wait(allowance)
        elif self.is_paused:
            self._resume()
        return budget - left

    def _wait(self, allowance: Allowance | None) -> None:
        """See to it that somebody lets it go on."""
        if self.inbox.is_full and not self._is_closing:
            return
        if allowance is None or allowance.left >= 1:
            self._join()
        elif self._timer is None:
            self._service.hooks.websocket_throttled()
            self._timer = self._service.loop.call_later(allowance.wait, self._has_waited)

    def _has_waited(self) -> None:
        self._timer = None
        self._join()

    def _has_room(self) -> None:
        if self.is_paused and self._timer is None:
            # Not at once: an application that finds a message each time would never let the loop
            # go.
            self._join()

    def _join(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self._service.turns.join(self)

    def _resume(self) -> None:
        self.is_paused = False
        if not self._is_over and not self._transport.is_closing():
            self._transport.resume_reading()
