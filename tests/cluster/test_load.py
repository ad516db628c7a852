"""The clients notice what a server drops: a checker that cannot fail proves nothing."""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.cluster.load import Load

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Talk = Callable[[Reader, Writer], Awaitable[None]]

SIGNATURE = f"one {os.getpid()} ".encode()


@contextmanager
def server(talk: Talk) -> Iterator[int]:
    """A server in a thread that speaks as it is told; gives its port."""
    loop = asyncio.new_event_loop()
    listening = threading.Event()
    ports: list[int] = []
    end = asyncio.Event()

    async def converse(reader: Reader, writer: Writer) -> None:
        try:
            await talk(reader, writer)
        except (EOFError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    async def run() -> None:
        listener = await asyncio.start_server(converse, "127.0.0.1", 0)
        ports.append(listener.sockets[0].getsockname()[1])
        listening.set()
        async with listener:
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert listening.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))  # connections see their end
        loop.close()


async def ask(reader: Reader) -> None:
    await reader.readuntil(b"\r\n\r\n")


def ok(body: bytes = SIGNATURE, extra: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body


async def closes_after_an_answer(reader: Reader, writer: Writer) -> None:
    await ask(reader)
    writer.write(ok())


async def resets(reader: Reader, writer: Writer) -> None:
    await ask(reader)
    no_linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    writer.transport.abort()


async def answers_500(reader: Reader, writer: Writer) -> None:
    await ask(reader)
    writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


async def cuts_the_body(reader: Reader, writer: Writer) -> None:
    await ask(reader)
    writer.write(ok()[:-3])


async def answers_nothing(reader: Reader, writer: Writer) -> None:
    await reader.read()


async def cuts_the_download(reader: Reader, writer: Writer) -> None:
    await ask(reader)
    writer.write(ok(b"\0" * 40960, f"x-release: {SIGNATURE.decode()}\r\n"))


async def echoes_another_body(reader: Reader, writer: Writer) -> None:
    await ask(reader)
    writer.write(ok(SIGNATURE + b"something else"))


@pytest.mark.parametrize(
    ("talk", "kind", "patience", "reasons"),
    [
        # Where the close is seen depends on whether the next request had been sent by then.
        (
            closes_after_an_answer,
            "kept",
            10,
            {
                "closed before any byte of an answer",
                "reset",
                "closed while the request was being sent",
            },
        ),
        (resets, "fresh", 10, {"reset"}),
        (answers_500, "kept", 10, {"status 500"}),
        (cuts_the_body, "fresh", 10, {"closed in the middle of a body"}),
        (answers_nothing, "kept", 0.3, {"time-out"}),
        (cuts_the_download, "downloads", 10, {"other bytes than expected"}),
        (echoes_another_body, "posts", 10, {"another body than was sent"}),
    ],
)
def test_a_drop_is_counted_with_its_reason(
    talk: Talk, kind: str, patience: float, reasons: set[str]
) -> None:
    with (
        server(talk) as port,
        Load(port, **{kind: 1}, patience=patience, download=0.1) as load,
    ):
        load.wait_for_a_failure()
    assert {failure.partition(": ")[2] for failure in load.failures} <= reasons
    assert {failure.partition(": ")[0] for failure in load.failures} == {kind}


def test_a_server_that_is_gone_is_a_failure() -> None:
    with server(resets) as port:
        pass
    with Load(port, fresh=1) as load:
        load.wait_for_a_failure()
    assert set(load.failures) == {"fresh: refused"}


def test_an_announced_close_is_followed_and_is_no_failure() -> None:
    async def announces(reader: Reader, writer: Writer) -> None:
        await ask(reader)
        writer.write(ok(extra="connection: close\r\n"))

    with server(announces) as port, Load(port, kept=2, think=0.01) as load:
        assert load.wait_for(50) == {"one": 50}
    assert load.failures == []
    assert load.tally.followed == load.tally.answers["kept"]


@pytest.mark.parametrize(
    ("code", "failures"), [(1012, set()), (1011, {"websockets: closed with 1011"})]
)
def test_only_a_service_restart_may_close_a_websocket(code: int, failures: set[str]) -> None:
    ports: list[int] = []
    listening = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def echo_three_times(connection: ServerConnection) -> None:
        for _ in range(3):
            text = await connection.recv(decode=False)
            await connection.send(SIGNATURE + bytes(text), text=True)
        await connection.close(code)

    async def run() -> None:
        async with serve(echo_three_times, "127.0.0.1", 0) as listener:
            ports.append(next(iter(listener.sockets)).getsockname()[1])
            listening.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert listening.wait(10)
    with Load(ports[0], websockets=1, think=0.01) as load:
        load.wait_for(10)
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.close()
    assert set(load.failures) == failures
    assert bool(load.tally.followed) is (code == 1012)
