"""Kept connections: what one request leaves to the next, and how the last of them is said."""

import asyncio
import contextvars
import socket
import threading

from tercio.http.asgi import Receive, Scope, Send
from tercio.http.connection import _CREDIT
from tests.http.answers import answers
from tests.http.harness import LIMIT, Served

USER: contextvars.ContextVar[str] = contextvars.ContextVar("USER", default="nobody")


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


def rest(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


async def answer(send: Send, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def users(scope: Scope, receive: Receive, send: Send) -> None:
    """Who asked before on this connection, as far as the context knows."""
    seen = USER.get()
    USER.set(f"user of {scope['path']}")
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await answer(send, f"{seen} {size}".encode())


def test_requests_sent_together_have_contexts_of_their_own(loop: str) -> None:
    with Served(users, loop=loop, lifespan="off") as served, served.connect() as sock:
        sock.sendall(get("/1") + get("/2") + get("/3", "Connection: close"))
        assert [each.body for each in answers(rest(sock))] == [b"nobody 0"] * 3


def test_an_upload_that_paused_leaves_nothing_in_the_context(loop: str) -> None:
    with Served(users, loop=loop, lifespan="off") as served, served.connect() as sock:
        size = 3_000_000
        sock.sendall(f"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode())
        sock.sendall(b"x" * size + get("/next", "Connection: close"))
        bodies = [each.body for each in answers(rest(sock))]
        assert bodies == [b"nobody 3000000", b"nobody 0"]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


def test_without_keep_alive_each_answer_is_the_last_and_each_client_may_ask(loop: str) -> None:
    with (
        Served(hello, loop=loop, lifespan="off", timeout_keep_alive=0.0) as served,
        served.connect() as silent,
        served.connect() as sock,
    ):
        for asking in (sock, silent):
            asking.sendall(get("/"))
            (only,) = answers(rest(asking))
            assert only.body == b"hello"
            assert only.closes


class Held:
    """The first request waits until it is let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self.let_go: asyncio.Event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            self.loop = asyncio.get_running_loop()
            self.let_go = asyncio.Event()
            self.arrived.set()
            await self.let_go.wait()
        await answer(send, scope["path"].encode())


def test_a_drain_answers_what_was_read_and_says_which_answer_is_the_last(loop: str) -> None:
    app = Held()
    with Served(app, loop=loop, lifespan="off") as served, served.connect() as sock:
        sock.sendall(get("/first") + get("/second") + get("/third"))
        assert app.arrived.wait(LIMIT)
        drained = asyncio.run_coroutine_threadsafe(
            served.running.server.drain(LIMIT, 0.1, 1012, False), served.event_loop
        )
        # What comes behind is to be asked again, elsewhere.
        served.call(lambda: None)
        sock.sendall(get("/late"))
        served.call(app.let_go.set)
        first, second, third = answers(rest(sock))
        assert [first.body, second.body, third.body] == [b"/first", b"/second", b"/third"]
        assert [first.closes, second.closes, third.closes] == [False, False, True]
        sock.close()
        assert not drained.result(LIMIT)


def test_a_fast_beginning_of_a_body_is_no_credit_for_long_silence(loop: str) -> None:
    grace = 0.5
    with (
        Served(
            users, loop=loop, lifespan="off", limit_body_rate=1, limit_body_grace=grace
        ) as served,
        served.connect() as sock,
    ):
        # Enough for hours, if the average since the beginning counted.
        sock.sendall(b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        sock.sendall(b"x" * 9_000)
        (only,) = answers(rest(sock))
        assert only.status == 408
    assert _CREDIT * grace < LIMIT


def test_files_by_their_path_are_offered_on_demand_only(loop: str) -> None:
    async def extensions(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, " ".join(sorted(scope["extensions"])).encode())

    for asked, offered in ((False, False), (True, True)):
        with (
            Served(extensions, loop=loop, lifespan="off", pathsend=asked) as served,
            served.connect() as sock,
        ):
            sock.sendall(get("/", "Connection: close"))
            (only,) = answers(rest(sock))
            assert (b"http.response.pathsend" in only.body) is offered
