"""A raw WebSocket client in the loop of its server, and applications for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tercio.config import Config
from tercio.http.asgi import App, Message, Receive, Scope, Send
from tercio.http.connection import Connection
from tercio.http.limits import Limits
from tercio.http.service import Service
from tercio.http.websocket import WebSocket
from tests.http.framing import CLOSE, Frame, FrameParser, close
from tests.http.harness import LIMIT, Counts, Running, factory, serving
from tests.http.wire import Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455, and its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def request(path: str = "/", *lines: str, key: str = KEY) -> bytes:
    head = (
        f"GET {path} HTTP/1.1",
        "Host: rig",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *lines,
    )
    return "\r\n".join([*head, "", ""]).encode("latin-1")


class WebSocketWire(Wire):
    """One connection. A reset is an error: it would have destroyed a close frame."""

    def __init__(self, address: Any) -> None:
        super().__init__(address)
        self.head = b""
        self._parser = FrameParser()
        self._frames: list[Frame] = []
        self._is_over = False

    async def upgrade(self, path: str = "/", *lines: str) -> int:
        """Ask, and read the head of the answer; its status."""
        await self.send([request(path, *lines)])
        return await self.answer()

    async def answer(self) -> int:
        data = b""
        async with asyncio.timeout(LIMIT):
            while b"\r\n\r\n" not in data:
                chunk = await self.receive()
                assert chunk, f"the connection ended after {data!r}"
                data += chunk
        self.head, _, rest = data.partition(b"\r\n\r\n")
        status = int(self.head.split()[1])
        if status == 101:
            self._frames += self._parser.feed(rest)
        else:
            self.body = rest
        return status

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines), "none is there twice"
        return headers

    async def frame(self) -> Frame | None:
        """The next frame; None at the end."""
        async with asyncio.timeout(LIMIT):
            while not self._frames and not self._is_over:
                data = await self.receive()
                self._is_over = not data
                self._frames += self._parser.feed(data)
        if self._frames:
            return self._frames.pop(0)
        assert self._parser.is_between_frames, "the connection ended in a frame"
        return None

    async def frames(self, count: int) -> list[Frame]:
        """The next frames, fewer only at the end."""
        got: list[Frame] = []
        while len(got) < count and (frame := await self.frame()) is not None:
            got.append(frame)
        return got

    async def end(self) -> tuple[int | None, str]:
        """Skip to the end: code and reason of the close frame before it, None without one."""
        last: Frame | None = None
        while (frame := await self.frame()) is not None:
            last = frame
        if last is None or last.opcode != CLOSE:
            return None, ""
        return (int.from_bytes(last.data[:2]) if last.data else 1005), last.data[2:].decode()

    async def close(self, code: int | None = 1000, reason: bytes = b"") -> tuple[int | None, str]:
        """Say goodbye and wait for the answer."""
        await self.send([close(code, reason)])
        return await self.end()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, and send back what comes."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (received := await receive())["type"] == "websocket.receive":
        await send(dict(received, type="websocket.send"))


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


class Told:
    """An application that a test plays: it says what happens, and does what it is told."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.receive: Receive
        self.send: Send
        self.ended = asyncio.Event()
        self._called = asyncio.Event()
        self._order: asyncio.Future[BaseException | None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.scope, self.receive, self.send = scope, receive, send
        self._order = asyncio.get_running_loop().create_future()
        self._called.set()
        try:
            error = await self._order
        finally:
            self.ended.set()
        if error is not None:
            raise error

    async def called(self) -> None:
        async with asyncio.timeout(LIMIT):
            await self._called.wait()

    async def hears(self) -> Message:
        async with asyncio.timeout(LIMIT):
            return await self.receive()

    async def accept(self, **more: object) -> None:
        await self.called()
        assert await self.hears() == {"type": "websocket.connect"}
        await self.send({"type": "websocket.accept", **more})

    def ends(self, error: BaseException | None = None) -> None:
        """Return, or raise."""
        self._order.set_result(error)


def over(
    loop: str,
    app: App,
    main: Callable[[Running], Coroutine[Any, Any, None]],
    *,
    failed: int = 0,
    complaints: int | None = None,
    **options: Any,
) -> None:
    """Run a test beside a server in its loop, and look for what it leaves."""

    async def run() -> None:
        async with serving(app, access_log=False, **options) as running:
            await main(running)
            assert running.counts.failed == failed
            errors = running.errors()
            assert len(errors) == (failed if complaints is None else complaints), errors

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(run())


@contextlib.asynccontextmanager
async def bare(app: App, **options: Any) -> AsyncIterator[tuple[Service, Any]]:
    """A service without its clock, and its address: the test sweeps."""
    config = Config.from_json(options)
    service = Service(
        app,
        Counts(),
        Limits.of(config),
        state={},
        headers=[(b"server", b"tercio")],
        date_header=True,
        root_path="",
        proxies=None,
        access=None,
    )
    listener = await service.loop.create_server(lambda: Connection(service), "127.0.0.1", 0)
    try:
        yield service, listener.sockets[0].getsockname()
        await settled(service)
    finally:
        listener.close()
        service.close()


async def only_peer(service: Service) -> WebSocket:
    """The one connection, once it is a WebSocket; nobody but the test sweeps it from now on."""
    async with asyncio.timeout(LIMIT):
        while not any(peer.is_websocket for peer in service.connections):
            await asyncio.sleep(0)
    service.close()
    (peer,) = service.connections
    assert isinstance(peer, WebSocket)
    return peer


async def settled(service: Service) -> None:
    """Wait until no connection and no task is left."""
    async with asyncio.timeout(LIMIT):
        while service.connections or service.lost:
            await asyncio.sleep(0)
