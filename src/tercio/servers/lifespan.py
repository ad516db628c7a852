"""Run an application's lifespan: start-up before the first request, shut-down after the last.

With "auto" an application without lifespan is one that raises before it takes the start-up
message, or because that message is no request. One that takes it and then raises has a start-up
that failed: ASGI lets a server go on, but going on would put a broken release into service.
"""

import asyncio
import logging

from tercio.errors import AppStartFailed
from tercio.http.asgi import App, Message, Scope

_log = logging.getLogger("tercio.lifespan")

# An application that takes every scope for a request fails on one of these.
_KEYS_OF_REQUESTS = frozenset(
    {"client", "headers", "http_version", "method", "path", "query_string", "raw_path", "scheme"}
)


class Lifespan:
    """One run. ``state`` is what the application put there for its requests."""

    def __init__(self, app: App, mode: str) -> None:
        self._app = app
        self._mode = mode  # "auto", "on" or "off"
        self._messages: asyncio.Queue[Message] = asyncio.Queue()  # two messages in a life
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_received = False
        self._is_lost = False  # it sent something that is no lifespan message
        self._is_running = False  # started up, not yet shut down
        self._failure: str | None = None
        self.state: dict[str, object] = {}

    async def start(self) -> None:
        """Raises `AppStartFailed`: its cause is the application's exception, or its note tells."""
        if self._mode == "off":
            return
        self._task = asyncio.create_task(self._run(), name="tercio-lifespan")
        await self._ask("lifespan.startup")
        if self._failure is not None:
            last = self._failure.strip().rpartition("\n")[2] or "no reason given"
            failed = AppStartFailed(last)
            failed.add_note(self._failure)  # Starlette puts the whole traceback here
            raise failed
        if not self._task.done():
            self._is_running = True
            return
        error = _failure(self._task)
        if error is None:
            if self._mode == "on":
                raise AppStartFailed("the application returned without completing its start-up")
        elif self._mode == "on" or not self._means_unsupported(error):
            said = str(error) if isinstance(error, _Exited) else f"{type(error).__name__}: {error}"
            raise AppStartFailed(said.rstrip(": ")) from error

    async def stop(self) -> None:
        """Shut down what was started. A failure is logged: there is nothing left to refuse."""
        if self._task is None:
            return
        if not self._is_running:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            return
        self._is_running = False
        self._failure = None
        await self._ask("lifespan.shutdown")
        if self._failure is not None:
            _log.error("the application's shut-down failed: %s", self._failure.strip())
        elif self._task.done() and (error := _failure(self._task)) is not None:
            _log.error("the application's shut-down failed", exc_info=error)

    async def _ask(self, kind: str) -> None:
        """Send a message and wait until it was answered or nobody is there to do so."""
        assert self._task is not None
        self._answered.clear()
        self._messages.put_nowait({"type": kind})
        self._task.add_done_callback(lambda task: self._answered.set())
        await self._answered.wait()

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio would let these two end the loop: no start-up may decide that.
            raise _Exited(f"{type(error).__name__}: {error}") from error

    async def _receive(self) -> Message:
        message = await self._messages.get()
        self._has_received = True
        return message

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete" | "lifespan.shutdown.complete":
                pass
            case "lifespan.startup.failed" | "lifespan.shutdown.failed":
                self._failure = message.get("message") or ""
            case other:
                self._is_lost = True
                raise RuntimeError(f"{other!r} was sent during lifespan")
        self._answered.set()

    def _means_unsupported(self, error: BaseException) -> bool:
        if isinstance(error, _Exited | asyncio.CancelledError):
            return False
        missing = error.args[0] if isinstance(error, KeyError) and error.args else None
        took_it_for_a_request = isinstance(missing, str) and missing in _KEYS_OF_REQUESTS
        return not self._has_received or self._is_lost or took_it_for_a_request


def _failure(task: asyncio.Task[None]) -> BaseException | None:
    """Why a task that is done has failed."""
    try:
        return task.exception()
    except asyncio.CancelledError as error:  # the task's, raised by `exception`: not for us
        return error


class _Exited(Exception):
    """The application's lifespan called ``sys.exit``."""
