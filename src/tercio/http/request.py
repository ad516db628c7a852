"""One request: the body as ASGI messages, and the run of the application.

the body comes --> receive() --> ... --> the last part --> (the client leaves | the answer is
complete) --> http.disconnect
"""

import asyncio
import inspect
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from tercio.http.asgi import Message, Scope
from tercio.http.response import BODY, DONE, HEAD, START, Response

if TYPE_CHECKING:
    from tercio.http.connection import Connection

HIGH_WATER: Final = 64 * 1024
"""Bytes of a body that wait for the application before reading stops."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_DISCONNECT: Final = "http.disconnect"


class Request(Response):
    """One request and its answer. Its `send` is `Response`'s."""

    __slots__ = (
        "_body",
        "_is_told",
        "_size",
        "_thrown_away",
        "_waiters",
        "begun",
        "expects_continue",
        "is_whole",
        "received",
        "task",
    )

    def __init__(self, connection: "Connection", scope: Scope, keep_alive: bool) -> None:
        super().__init__(connection, scope, keep_alive)
        self.task: asyncio.Task[None] | None = None
        self.begun = 0.0
        """When the application was called, in seconds of `time.monotonic`."""
        self.expects_continue = False
        """The client waits for a 100 before it sends the body."""
        self.received = 0
        """Bytes of the body that have come."""
        self.is_whole = False
        """The body has come to its end."""
        self._thrown_away = 0  # bytes that came when nobody wanted them any more
        self._body: list[bytes] = []
        self._size = 0  # of it
        self._is_told = False  # the application has the last part of the body
        self._waiters: list[asyncio.Future[None]] = []  # a receive() each; an Event costs twice

    @property
    def length(self) -> int | None:
        """Bytes that Content-Length announces; None without one. Looked up when it matters."""
        values = (value for name, value in self.scope["headers"] if name == b"content-length")
        return next((int(value) for value in values), None)

    def start(self) -> None:
        """Call the application."""
        service = self.connection.service
        # No done-callback takes it out again: one costs as much as all the rest of this method.
        service.running.add(self)
        service.hooks.request_begun()
        self.begun = monotonic()  # not loop.time(): uvloop's has whole milliseconds
        self.task = service.spawn(self._run(service.app))

    async def _run(self, app: Any) -> None:
        connection = self.connection
        service = connection.service
        if connection.is_released:  # another worker has the request: this one never began
            service.running.discard(self)
            return
        try:
            result = await app(self.scope, self.receive, self.send)
        except BaseException as error:
            self._fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if result is not None or self.stage != DONE:
                self._complain(result)
        finally:
            service.running.discard(self)
            if service.is_draining:
                service.settled()

    # What the connection calls

    def reject(self, status: int, text: bytes) -> None:
        """Answer without calling the application."""
        self.connection.service.hooks.request_begun()
        self.begun = monotonic()
        self.answer(status, text)

    def feed(self, data: bytes) -> None:
        """A part of the body."""
        self.received += len(data)
        if self.stage == DONE or self.is_gone:
            self._thrown_away += len(data)
            self.connection.throw_away(self._thrown_away)
            return
        self._body.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self.connection.pause_reading()
        if self._waiters:
            self._wake()

    def end_body(self) -> None:
        """The body is complete."""
        self.is_whole = True
        if self._waiters:
            self._wake()

    def finish(self) -> None:
        if self._body:
            self._drop_body()  # nobody will take it: there is room again
        connection = self.connection
        connection.service.hooks.request_ended(self.status, monotonic() - self.begun)
        connection.finished(self)
        if self._waiters:
            self._wake()

    def lose(self) -> None:
        """The client is gone, or will get no answer."""
        if self.is_gone or self.stage == DONE:
            return
        self.is_gone = True
        if self.begun:
            status = self.status if self.stage != HEAD else 0
            self.connection.service.hooks.request_ended(status, monotonic() - self.begun)
        if self._waiters:
            self._wake()

    def hand_on(self) -> None:
        """Another process answers it, from its beginning: here it never was."""
        self.is_gone = True
        self.connection.service.hooks.request_moved()

    @property
    def is_awaited(self) -> bool:
        """Whether the application, or the end of an answered request, waits for the body."""
        return bool(self._waiters) or self.stage == DONE

    @property
    def is_unbegun(self) -> bool:
        """Whether the task has not taken its first step.

        What a task factory of the application has wrapped may have begun, whatever the task says.
        """
        if self.task is None:
            return False
        coroutine = cast("Coroutine[Any, Any, None]", self.task.get_coro())
        is_ours = getattr(coroutine, "cr_code", None) is Request._run.__code__
        return is_ours and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED

    @property
    def was_cancelled(self) -> bool:
        """Whether the task ended without an answer: it was cancelled before its first step.

        An application may cancel all tasks that it finds, and nobody's ``finally`` runs then.
        """
        return self.task is not None and self.task.done() and self.stage != DONE

    @property
    def has_room(self) -> bool:
        """Whether more of the body may come before the application takes what there is."""
        return self._size <= HIGH_WATER

    @property
    def is_lonely_and_useful(self) -> bool:
        """Whether it runs without its connection, and does more than write to nobody.

        It may work on after its answer, or on an order whose client did not wait. But an
        application that streams without listening for the disconnect would never end.
        """
        if self.task is None or self.task.done():
            return False  # done: cancelled before its first step, and so never taken out
        return self.stage == DONE or (self.is_gone and self.stage < BODY)

    @property
    def disconnected(self) -> bool:
        """What the WSGI bridge asks."""
        return self.is_gone

    # What the application calls

    async def receive(self) -> Message:
        """ASGI's ``receive``."""
        if self.expects_continue and not self.is_gone and self.stage == START:
            self.expects_continue = False
            self.write(_CONTINUE)
        while not self.is_gone and self.stage != DONE:
            body = self._body
            if body or (self.is_whole and not self._is_told):
                data = body[0] if len(body) == 1 else b"".join(body)
                self._drop_body()
                self._is_told = self.is_whole
                self.connection.resume_reading()
                return {"type": "http.request", "body": data, "more_body": not self.is_whole}
            self.connection.resume_reading()
            waiter = self.connection.service.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # Some ask like this ten times a second whether the client is still there.
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                raise
        return {"type": _DISCONNECT}

    def _drop_body(self) -> None:
        self._body = []
        self._size = 0

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # its receive() was cancelled
                waiter.set_result(None)

    # How a run may end

    def _fail(self, error: BaseException) -> None:
        service = self.connection.service
        if isinstance(error, asyncio.CancelledError):
            if not service.is_cutting:  # a drain reports what it cuts, with the path
                service.log.error("Exception in ASGI application\n", exc_info=error)
        else:
            service.hooks.app_failed()
            service.log.error("Exception in ASGI application\n", exc_info=error)
        self.give_up()

    def _complain(self, result: object) -> None:
        log = self.connection.service.log
        if result is not None:
            log.error("ASGI callable should return None, but returned '%s'.", result)
            if self.stage == DONE:
                self.connection.close()
        elif self.is_gone:
            return
        elif self.stage == START:
            log.error("ASGI callable returned without starting response.")
        else:
            log.error("ASGI callable returned without completing response.")
        self.give_up()

    def give_up(self) -> None:
        """Nobody will answer any more: say so, or break off."""
        if self.is_gone or self.stage == DONE:
            return
        if self.stage in (START, HEAD):
            self.answer(500, b"Internal Server Error")
        else:
            # Closed in the middle: the client sees that what it got is not all.
            self.lose()
            self.connection.close()
