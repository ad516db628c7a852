"""One WebSocket, from the request to upgrade on.

    OPENING --accepted--> OPEN --close frame sent--> CLOSING --close frame came--> ENDED
       |                   |                            |
       |                   +--close frame came----------+--10 s--> ENDED
       |                   +--violation, no pong, connection lost-> ENDED
       +--refused--> ENDED

What waits is bounded both ways. `send` waits while the transport is full; what comes is `Intake`'s.
"""

import asyncio
from enum import Enum
from typing import Final

from tercio.http import frames
from tercio.http.asgi import Message, Scope
from tercio.http.deflate import WORTH_IT, Deflate
from tercio.http.errors import ClientDisconnected
from tercio.http.framing import EXTENSION, FrameWriter
from tercio.http.handshake import Refusal, examine
from tercio.http.intake import Intake
from tercio.http.linger import Lingering
from tercio.http.opening import Opening, Outcome
from tercio.http.outbox import Outbox
from tercio.http.pings import Overdue, Pings
from tercio.http.response import plain
from tercio.http.service import Service
from tercio.http.transports import bytes_wait

CLOSE_TIMEOUT: Final = 10.0
"""Seconds for the client to answer a close frame."""


class Phase(Enum):
    """See above."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    ENDED = "ended"


# A name of the module is found faster than a member of an enum, and a message needs it twice.
_OPEN: Final = Phase.OPEN


class WebSocket(asyncio.Protocol):
    """A `service.Peer`. Its connection gave it the transport, and is no peer any more."""

    is_websocket = True

    def __init__(self, service: Service, transport: asyncio.Transport, scope: Scope) -> None:
        limits = service.limits
        self.transport = transport
        self.task: asyncio.Task[None] | None = None
        """The run of the application. The loop has only a weak reference."""
        self._service = service
        self._scope = scope
        self._phase = Phase.OPENING
        self._opening: Opening | None = None
        self._deflate: Deflate | None = None
        self._outbox = Outbox(service, transport)
        self._pings = Pings(limits.ping_interval, limits.ping_timeout)
        self._intake = Intake(service, transport, self, self._outbox, self._pings)
        self._is_heard = False  # since the last look of the sweep
        self._is_closed_by_app = False
        self._is_lost = False
        self._closes_by = 0.0

    def begin(self, rest: bytes) -> None:
        """Examine the request, and call the application. ``rest`` came after the head."""
        service = self._service
        service.joined(self)
        service.hooks.websocket_opened()
        if rest:
            service.traffic.received += len(rest)
            self._intake.keep(rest)
        answer = examine(self._scope, deflate=service.limits.websocket_deflate)
        if isinstance(answer, Refusal):
            service.hooks.request_refused(answer.status)
            head_lines = service.head_lines + answer.lines
            self._outbox.write(plain(head_lines, answer.status, answer.text.encode()))
            self._finish()
            return
        self._opening = Opening(self._scope, answer)
        self._scope["extensions"][EXTENSION] = {"writer": FrameWriter(self)}
        self._intake.inbox.put({"type": "websocket.connect"}, 0)
        self.task = service.spawn(self._run())
        if rest:
            self._intake.pause()

    # service.Peer

    def unfinished(self) -> str | None:
        return str(self._scope["path"])

    def begin_drain(self) -> None:
        """Say goodbye if it is time to. Who is not accepted yet hears it right after."""
        if self._service.goodbye is not None and self._phase is _OPEN:
            self._begin_close(*self._service.goodbye)

    def sweep(self, now: float) -> None:
        if self._outbox.is_stuck(now) or self._intake.is_hung_up:
            self.abort()
        elif self._phase is Phase.OPENING and self.task is not None and self.task.done():
            self.task = None  # cancelled before its first step: nobody will answer
            self._leave(frames.INTERNAL_ERROR)
        elif self._phase is _OPEN:
            is_heard = self._is_heard or self._intake.is_paused
            self._is_heard = False
            try:
                ping = self._pings.look(now, is_heard)
            except Overdue:
                self.fail(frames.INTERNAL_ERROR, "keepalive ping timeout")
                return
            if ping is not None:
                self._outbox.write(frames.frame(frames.FIN | frames.PING, ping))
        elif self._phase is Phase.CLOSING and now >= self._closes_by:
            self._end()

    def abort(self) -> None:
        self._lose()
        self.transport.abort()

    # Frames that were made for many (see `framing`)

    def write_frames(self, data: bytes) -> int:
        """Send frames of an open WebSocket; how many bytes waited before."""
        if self._phase is not _OPEN or self.transport.is_closing():
            return 0
        waited = self.transport.get_write_buffer_size()
        self._service.traffic.sent += len(data)
        self.transport.write(data)
        return waited

    def close_now(self, code: int, reason: str) -> None:
        """Say goodbye on the application's behalf."""
        if self._phase is _OPEN:
            self._begin_close(code, reason)
            self._is_closed_by_app = True

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        self._is_heard = True
        self._service.traffic.received += len(data)
        self._intake.take(data)

    def eof_received(self) -> None:
        self._end()  # who sends no more is gone, with or without a close frame before

    def pause_writing(self) -> None:
        self._outbox.pause()

    def resume_writing(self) -> None:
        self._outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        self._service.hooks.connection_lost()
        self._service.left(self)

    # What the intake finds

    def closed(self, code: int, reason: str) -> None:
        """The client's close frame came."""
        if self._phase is _OPEN:
            self._outbox.write(frames.close_frame(code, reason))
            self._intake.inbox.end(code, reason)
        self._finish()

    def fail(self, code: int, reason: str) -> None:
        """End it for a fault of the client's."""
        if self._phase is _OPEN:
            self._outbox.write(frames.close_frame(code, reason))
            self._intake.inbox.end(code, reason)
        self._linger()

    # How it ends

    def _begin_close(self, code: int, reason: str) -> None:
        """Send a close frame, and wait for the client's."""
        self._outbox.write(frames.close_frame(code, reason))
        self._phase = Phase.CLOSING
        self._closes_by = self._service.now + CLOSE_TIMEOUT
        self._intake.inbox.end(code, reason)
        # The client's answer is to be read, whatever waits before it.
        self._intake.begin_close()

    def _finish(self) -> None:
        """All is said. To close while bytes of the client are unread would send a reset."""
        if self._intake.left or bytes_wait(self.transport):
            self._linger()
        else:
            self._end()

    def _end(self) -> None:
        """Close when what was written is sent."""
        self._phase = Phase.ENDED
        self._intake.end()
        self._intake.inbox.end(frames.ABNORMAL, "")
        self._outbox.end()
        self.transport.close()

    def _linger(self) -> None:
        """As `_end`, for a client that may still be sending: it shall learn why."""
        self._lose()
        self._service.left(self)
        Lingering(self._service, self.transport)

    def _lose(self) -> None:
        """Nobody is there any more to talk to."""
        if self._is_lost:
            return
        self._phase = Phase.ENDED
        self._is_lost = True
        self._intake.end()
        self._intake.inbox.end(frames.ABNORMAL, "")
        self._outbox.free()  # nobody calls resume_writing any more
        self._service.hooks.websocket_closed()
        if self.task is not None:
            self._service.outlives(self.task)

    # The application

    async def _run(self) -> None:
        service = self._service
        code = frames.INTERNAL_ERROR
        try:
            result: object = await service.app(self._scope, self._intake.inbox.get, self._send)  # type: ignore[func-returns-value]
            if result is not None:
                service.log.error("ASGI callable should return None, but returned '%s'.", result)
            elif self._phase is Phase.OPENING:
                service.log.error("ASGI callable returned without completing handshake.")
            code = frames.NORMAL
        except ClientDisconnected:
            pass  # ours: there is nobody to tell, and nothing went wrong
        except BaseException as error:
            is_cancelled = isinstance(error, asyncio.CancelledError)
            if not (is_cancelled and service.is_cutting):  # a drain says what it cuts
                service.log.error("Exception in ASGI application\n", exc_info=error)
            if is_cancelled:
                raise
            service.hooks.app_failed()
        finally:
            self.task = None
            self._leave(code)

    def _leave(self, code: int) -> None:
        """The application is through: end what it left."""
        if self._phase is _OPEN:
            self._begin_close(code, "")
        elif self._phase is Phase.OPENING:
            assert self._opening is not None
            self._outbox.write(self._opening.give_up(self._service.head_lines))
            self._finish()

    async def _send(self, message: Message) -> None:
        """ASGI's ``send``."""
        if self._outbox.is_full:
            await self._outbox.until_free()
        if self._phase is not _OPEN:
            self._say(message)
        elif self.transport.is_closing():
            # An application that does nothing but send may never let the loop tell us.
            raise ClientDisconnected
        elif message["type"] == "websocket.send":
            content = message.get("bytes")
            if content is not None:
                first = frames.FIN | frames.BINARY
            elif (text := message.get("text")) is not None:
                content = text.encode()
                first = frames.FIN | frames.TEXT
            else:
                return  # as in uvicorn: nothing was given, nothing is sent
            if self._deflate is not None and len(content) >= WORTH_IT:
                content = self._deflate.deflate(content)
                first |= frames.COMPRESSED
            frame = frames.frame(first, content)
            self._service.traffic.sent += len(frame)  # not `Outbox.write`: a call costs as much
            self.transport.write(frame)
        elif message["type"] == "websocket.close":
            code = message.get("code") or frames.NORMAL
            self._begin_close(code, message.get("reason") or "")
            self._is_closed_by_app = True
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.send' or 'websocket.close', "
                f"but got {message['type']!r}."
            )

    def _say(self, message: Message) -> None:
        """A message before the WebSocket is open, or after."""
        if self._is_lost:
            raise ClientDisconnected
        if self._phase is not Phase.OPENING:
            if self._is_closed_by_app:
                raise RuntimeError(
                    f"Unexpected ASGI message {message['type']!r}, after sending 'websocket.close'."
                )
            # The client ended it, or a drain did: an application has to expect that at any time.
            raise ClientDisconnected
        opening = self._opening
        assert opening is not None
        data = opening.say(message, self._service.head_lines)
        if data:
            self._outbox.write(data)
        if opening.outcome is Outcome.REFUSED:
            self._is_closed_by_app = True
            self._finish()
        elif opening.outcome is Outcome.ACCEPTED:
            self._phase = Phase.OPEN
            self._opening = None
            self._deflate = opening.handshake.deflate
            self._intake.open(self._deflate)
            self.begin_drain()
            self._intake.go_on()
