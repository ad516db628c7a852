"""What an application hands over: it may use it again, and hand over what is like bytes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tercio.http.asgi import Message, Receive, Scope, Send
from tercio.http.connection import Connection
from tercio.servers.tercio import TercioServer
from tests.http.answers import Answer, answers, final
from tests.http.harness import LIMIT, Running, factory, serving
from tests.http.pages import MIB, answer
from tests.http.wire import Wire, exchange

pytestmark = pytest.mark.timeout(120)

LAST = b"GET /%b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def run(loop: str, main: object) -> None:
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


def connection_of(running: Running) -> Connection:
    """The only one."""
    assert isinstance(running.server, TercioServer)
    (found,) = running.server.service.connections
    assert isinstance(found, Connection)
    return found


# Bodies


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("length", [False, True], ids=["chunks", "length"])
def test_a_buffer_may_be_used_again_once_it_is_sent(
    loop: str, kind: Callable[[bytearray], Any], length: bool
) -> None:
    parts = 24
    expected = b"".join(bytes([65 + index]) * MIB for index in range(parts))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % len(expected))] if length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        buffer = bytearray(MIB)
        for index in range(parts):
            buffer[:] = bytes([65 + index]) * MIB
            part = buffer if kind is bytearray else kind(buffer)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        buffer[:] = bytes(MIB)
        await send({"type": "http.response.body"})

    async def main() -> None:
        async with serving(app, lifespan="off") as running, Wire(running.address) as wire:
            await wire.send([LAST % b""])
            # What waits in the transport now could still change.
            await until(lambda: connection_of(running).is_write_paused)
            (got,) = answers(await wire.rest())
            assert got.body == expected

    run(loop, main())


def test_a_view_of_larger_items_is_as_long_as_its_bytes(loop: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"8")] if scope["path"] == "/length" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": memoryview(b"12345678").cast("I")})

    for path in (b"length", b"chunks"):
        assert ask(loop, app, path).body == b"12345678"


@pytest.mark.parametrize("body", [20, "text", None, [1, 2]], ids=repr)
def test_a_body_that_is_nothing_like_bytes_is_a_fault_of_the_application(
    loop: str, body: Any
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    assert ask(loop, app).status == 500


def test_what_an_application_streams_waits_for_its_client(loop: str) -> None:
    """Some releases of asyncio do not say that a buffer is full if it was filled by parts."""
    parts, size = 300, 100_000
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        headers = [(b"content-length", b"%d" % (parts * size))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(parts):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
            sent += 1
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    async def main() -> None:
        async with serving(app, lifespan="off") as running, Wire(running.address) as wire:
            await wire.send([LAST % b""])
            await until(lambda: sent == parts or connection_of(running).is_write_paused)
            assert sent < parts  # the kernel takes some megabytes of thirty
            assert connection_of(running).transport.get_write_buffer_size() < MIB
            (got,) = answers(await wire.rest())
            assert len(got.body) == parts * size

    run(loop, main())


# Headers


def writable(value: bytes) -> memoryview:
    """Without a hash, which a view of bytes has."""
    return memoryview(bytearray(value))


@pytest.mark.parametrize("name", [bytes, bytearray, memoryview, writable])
@pytest.mark.parametrize("value", [bytes, bytearray, memoryview, writable])
@pytest.mark.parametrize("pair", [tuple, list])
def test_headers_may_be_of_anything_like_bytes(
    loop: str, name: Callable[[bytes], Any], value: Callable[[bytes], Any], pair: Any
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-a", b"of one"), (b"connection", b"close"), (b"content-length", b"2")]
        given = [pair((name(one), value(other))) for one, other in headers]
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": b"ok"})

    for _ in range(2):  # the second time they are known
        got = ask(loop, app)
        assert (got.status, got.headers["x-a"], got.body) == (200, "of one", b"ok")
        assert got.headers["content-length"] == "2"


@pytest.mark.parametrize("field", [b"keep-alive", b"Keep-Alive", b"upgrade"])
def test_a_last_answer_says_so_once_whatever_the_application_says(loop: str, field: bytes) -> None:
    got = ask(loop, saying({"status": 200, "headers": [(b"connection", field)]}))
    assert got.headers["connection"] == "close"  # twice the same cannot be read


def test_what_an_application_says_of_the_connection_is_kept_else(loop: str) -> None:
    async def main() -> None:
        message = {"status": 200, "headers": [(b"connection", b"keep-alive")]}
        async with serving(saying(message), lifespan="off") as running, Wire(running.address):
            requests = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + LAST % b""
            first, last = final(await exchange(running.address, [requests]))
            assert first.headers["connection"] == "keep-alive"
            assert last.headers["connection"] == "close"

    run(loop, main())


def test_an_answer_without_a_body_says_nothing_of_chunks(loop: str) -> None:
    got = ask(loop, saying({"status": 204, "headers": [(b"transfer-encoding", b"chunked")]}))
    assert got.status == 204
    assert "transfer-encoding" not in got.headers


@pytest.mark.parametrize("status", [200.0, "200", None, [], 99, 101, 600])
def test_a_status_that_is_none_is_a_fault_of_the_application(loop: str, status: Any) -> None:
    """Nothing behind it breaks: the hooks get a number, and the connection ends in order."""

    async def main() -> None:
        app = saying({"status": status, "headers": []})
        async with serving(app, lifespan="off") as running:
            (got,) = answers(await exchange(running.address, [LAST % b""]))
            assert (got.status, got.closes) == (500, True)
            assert running.counts.statuses == [500]
            assert running.counts.failed == 1

    run(loop, main())


# Scopes


def test_what_one_request_writes_into_its_scope_is_not_in_the_next(loop: str) -> None:
    """Behind a proxy, the next one on the same connection is somebody else's."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(repr({name: each for name, each in scope.items() if name != "headers"}))
        for name in ("asgi", "extensions", "state"):
            scope[name]["secret"] = 1
        scope["secret"] = 1
        scope["headers"].append((b"secret", b"1"))
        await answer(send, 200, b"")

    async def main() -> None:
        async with serving(app, lifespan="off") as running, Wire(running.address) as wire:
            for number in range(1, 4):
                await wire.send([b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"])
                await until(lambda: len(seen) == number)  # noqa: B023

    run(loop, main())
    assert "secret" not in seen[0]
    assert seen == [seen[0]] * 3


def saying(start: Message) -> Any:
    """An application that begins its answers like this."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start"} | dict(start))
        await send({"type": "http.response.body"})

    return app


def ask(loop: str, app: Any, path: bytes = b"") -> Answer:
    """The answer to the only request of a connection."""
    found: list[Answer] = []

    async def main() -> None:
        async with serving(app, lifespan="off") as running:
            found.extend(answers(await exchange(running.address, [LAST % path])))

    run(loop, main())
    (got,) = found
    return got
