"""One server inside the process of the tests: in the test's own loop, or in a thread with its own.

The first is for whoever decides which bytes arrive together, the second for blocking clients and
other programs. Both look for what is left behind: tasks, complaints of the loop, log lines.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from tercio.config import Config
from tercio.http.asgi import App
from tercio.http.traffic import Traffic
from tercio.servers.port import Server

LIMIT = 30.0  # seconds for anything that is waited for

_TURNS = 10

T = TypeVar("T")


class Counts:
    """The hooks of a server, counted."""

    def __init__(self) -> None:
        self.made = self.lost = self.begun = self.failed = self.opened = self.closed = 0
        self.throttled = self.turned_away = 0
        self.traffic = Traffic()
        self.statuses: list[int] = []
        self.refused: list[int] = []

    @property
    def connections(self) -> int:
        return self.made - self.lost

    @property
    def in_flight(self) -> int:
        return self.begun - len(self.statuses)

    @property
    def websockets(self) -> int:
        return self.opened - self.closed

    def connection_made(self) -> None:
        self.made += 1

    def connection_adopted(self) -> None:
        self.made += 1

    def connection_lost(self) -> None:
        self.lost += 1

    def request_begun(self) -> None:
        self.begun += 1

    def request_ended(self, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.statuses.append(status)

    def request_moved(self) -> None:
        self.begun -= 1

    def request_refused(self, status: int) -> None:
        self.refused.append(status)

    def connection_refused(self) -> None:
        self.turned_away += 1

    def websocket_throttled(self) -> None:
        self.throttled += 1

    def websocket_opened(self) -> None:
        self.opened += 1

    def websocket_closed(self) -> None:
        self.closed += 1

    def traffic_passed(self) -> None:
        pass

    def app_failed(self) -> None:
        self.failed += 1


class Running:
    """A server that serves, as a test sees it."""

    def __init__(self, server: Server, listener: socket.socket, counts: Counts) -> None:
        self.server = server
        self.listener = listener
        self.counts = counts
        self.logged: list[logging.LogRecord] = []
        self.complaints: list[dict[str, Any]] = []
        """What reached the loop's exception handler: there is never anything."""

    @property
    def address(self) -> Any:  # (host, port), or the path of a Unix socket
        return self.listener.getsockname()

    @property
    def connections(self) -> int:
        return self.counts.connections

    def errors(self) -> list[str]:
        """Log lines of errors, with the exception if there is one."""
        kept = (record for record in self.logged if record.levelno >= logging.ERROR)
        return [logging.Formatter().format(record) for record in kept]


@contextlib.asynccontextmanager
async def serving(app: App, *, unix: str = "", **options: Any) -> AsyncIterator[Running]:
    """A server in the running loop. Its options are those of `Config`."""
    config = Config.from_json({"server": "tercio"} | options)
    listener = _listener(unix)
    running = Running(_server(config), listener, Counts())
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: running.complaints.append(context))
    before = asyncio.all_tasks()
    with _watched(running.logged):
        await running.server.start(app, [listener], running.counts)
        try:
            await running.server.serve()
            yield running
        finally:
            await running.server.stop()
            listener.close()
    # A callback of what has just ended may still be on its way: an aborted transport of uvloop
    # takes some turns to tell.
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    assert running.complaints == []
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()
    assert (running.counts.connections, running.counts.websockets) == (0, 0)


class Served:
    """A server in a thread of its own, for blocking clients; use it as a context.

    Other keywords are options of `Config`; ``loop`` is one of them.
    """

    def __init__(self, app: App, *, unix: str = "", loop: str = "auto", **options: Any) -> None:
        self._app = app
        self._unix = unix
        self._options = {"loop": loop} | options
        self._stop: asyncio.Event
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)
        self.running: Running
        self.event_loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> Any:
        return self.running.address

    @property
    def url(self) -> str:
        host, port = self.address
        return f"http://{host}:{port}"

    @property
    def counts(self) -> Counts:
        return self.running.counts

    def connect(self) -> socket.socket:
        """A client's socket; close it before the server ends."""
        return connect(self.address)

    def call(self, function: Callable[[], T]) -> T:
        """Run something in the server's loop, and wait for it."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.event_loop).result(LIMIT)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(LIMIT), "the server did not start"
        if self._failure is not None:
            self._thread.join(LIMIT)
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self.stop()
        if self._failure is not None and error is None:
            raise self._failure

    def stop(self) -> None:
        """Stop the server before the end of the context."""
        if self._thread.is_alive():
            self.event_loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "the server did not stop"

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=factory(str(self._options["loop"]))) as runner:
                runner.run(self._main())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self.event_loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with serving(self._app, unix=self._unix, **self._options) as self.running:
            self._started.set()
            await self._stop.wait()


def factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes an event loop of this name."""
    return asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop


def connect(address: Any) -> socket.socket:
    """A blocking client's socket that sends each piece at once."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(LIMIT)
    try:
        sock.connect(address)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def _server(config: Config) -> Server:
    def note(level: str, line: str) -> None:
        logging.getLogger("tercio.notes").warning("%s: %s", level, line)

    if config.server == "uvicorn":
        from tercio.servers.uvicorn import UvicornServer

        return UvicornServer(config, note)
    from tercio.servers.tercio import TercioServer

    return TercioServer(config, note)


def _listener(unix: str) -> socket.socket:
    if unix:
        Path(unix).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(unix)
    else:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


@contextlib.contextmanager
def _watched(records: list[logging.LogRecord]) -> Iterator[None]:
    """Keep what our loggers say meanwhile."""

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping()
    ours = logging.getLogger("tercio")
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
