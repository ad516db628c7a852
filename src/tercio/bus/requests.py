"""Requests and replies over the bus: two topics of the library's own, and a number.

A request to ``math.add`` is published to ``.q.math.add``; it names the inbox of who asks and a
number. The reply is published to the inbox. Of several replies the first one counts.
"""
# ruff: noqa: ASYNC109  # a caller's time-out is part of what is asked for, as everywhere here

import asyncio
import inspect
import logging
import secrets
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from tercio.bus.topics import encode_topic
from tercio.codec import UNREADABLE, decode, decoder_for, encode
from tercio.errors import MessageTooLarge, NoCluster, NoReply, RequestFailed, TercioError

_log = logging.getLogger("tercio.bus")

_NUMBER: Final = struct.Struct("=QB")  # number, and the length of the inbox or the outcome
_DONE: Final = 0
_FAILED: Final = 1
_ERROR_LIMIT: Final = 1000  # characters
_AT_ONCE: Final = 1000
"""Requests that one process answers at a time; more are left to others, and counted."""

Send = Callable[[bytes, bytes], None]


class Asker:
    """Requests of this process that wait for their replies."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self.inbox: str = f".r.{secrets.token_hex(8)}"

    async def ask(self, topic: str, message: object, timeout: float, type: object) -> object:
        """The reply. Raises `NoReply`, `RequestFailed` or `WrongType`."""
        self._number = number = self._number + 1
        inbox = self.inbox.encode()
        body = _NUMBER.pack(number, len(inbox)) + inbox + encode(message, 1 << 62)
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(b".q." + encode_topic(topic), body)
            async with asyncio.timeout(timeout):
                outcome, reply = await answer
        except TimeoutError as error:
            raise NoReply(f"nobody replied to {topic} within {timeout:g} s") from error
        finally:
            del self._waiting[number]
        if outcome != _DONE:
            raise RequestFailed(f"the request to {topic} failed: {reply.decode(errors='replace')}")
        return decode(reply) if type is None else decode(reply, type)  # type: ignore[call-overload]

    def fail(self, why: str) -> None:
        """No reply can come any more. In the loop."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(NoCluster(why))

    def take(self, topic: str, body: bytes) -> None:
        """A reply came; one too many is thrown away."""
        if len(body) >= _NUMBER.size:
            number, outcome = _NUMBER.unpack_from(body)
            answer = self._waiting.get(number)
            if answer is not None and not answer.done():
                answer.set_result((outcome, body[_NUMBER.size :]))


Handler = Callable[[str, object], object]


class Answerer:
    """A handler of requests."""

    def __init__(self, send: Send, handler: Handler, type: object) -> None:
        self._send = send
        self._handler = handler
        self._decode = decoder_for(type)
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused: int = 0

    def take(self, topic: str, body: bytes) -> None:
        """A request came. In the loop."""
        try:
            number, length = _NUMBER.unpack_from(body)
        except struct.error:
            return  # of a broken process
        end = _NUMBER.size + length
        inbox = body[_NUMBER.size : end]
        if not inbox.startswith(b".r."):
            return
        try:
            result = self._handler(topic.removeprefix(".q."), self._decode(body[end:]))
        except UNREADABLE as error:
            self._fail(inbox, number, f"the request is not of the type asked for: {error}")
        except (Exception, asyncio.CancelledError) as error:  # the latter: of a future it looked at
            self._fail(inbox, number, error)
        else:
            if inspect.isawaitable(result):
                self._answer_later(inbox, number, result)
            else:
                self._answer(inbox, number, result)

    def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.get_loop().call_soon_threadsafe(task.cancel)

    def _answer_later(self, inbox: bytes, number: int, result: Awaitable[object]) -> None:
        if len(self._tasks) >= _AT_ONCE:
            self.refused += 1
            if inspect.iscoroutine(result):
                result.close()
            self._fail(inbox, number, f"{_AT_ONCE} requests are being answered already")
            return
        task = asyncio.get_running_loop().create_task(self._wait(inbox, number, result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self, inbox: bytes, number: int, result: Awaitable[object]) -> None:
        try:
            value = await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._fail(inbox, number, error)  # what it awaited was cancelled, not we
        except Exception as error:
            self._fail(inbox, number, error)
        else:
            self._answer(inbox, number, value)

    def _answer(self, inbox: bytes, number: int, value: object) -> None:
        try:
            self._send(inbox, _NUMBER.pack(number, _DONE) + encode(value, 1 << 62))
        except (TercioError, MessageTooLarge) as error:
            self._fail(inbox, number, error)

    def _fail(self, inbox: bytes, number: int, error: str | BaseException) -> None:
        if isinstance(error, BaseException):
            if not isinstance(error, TercioError):
                _log.error("a request could not be answered", exc_info=error)
            error = f"{type(error).__name__}: {error}"
        text = error[:_ERROR_LIMIT].encode(errors="replace")
        self._send(inbox, _NUMBER.pack(number, _FAILED) + text)
