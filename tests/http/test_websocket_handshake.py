"""From the request to upgrade to the WebSocket, or to another answer."""

from typing import Any

import pytest

from tercio.http.asgi import Message, Receive, Scope, Send
from tests.http.framing import TEXT, encode
from tests.http.harness import Running
from tests.http.upgraded import ACCEPT, Told, WebSocketWire, echo, lifespan, over, request

BODY = "websocket.http.response.body"
START = "websocket.http.response.start"


def test_the_scope_has_all_that_asgi_says(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            lines = ("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c", "Cookie: é=1")
            await wire.send([request("/caf%C3%A9/x?y=%20", *lines)])
            await app.called()
            scope = dict(app.scope)
            assert scope["subprotocols"] == ["a", "b", "c"]
            assert sorted(scope["extensions"]) == ["tercio.frames", "websocket.http.response"]
            assert scope["extensions"]["websocket.http.response"] == {}
            assert (
                scope["type"],
                scope["http_version"],
                scope["scheme"],
            ) == ("websocket", "1.1", "ws")
            assert (
                scope["path"],
                scope["raw_path"],
                scope["query_string"],
            ) == ("/café/x", b"/caf%C3%A9/x", b"y=%20")
            assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
            assert wire.sock.getsockname() == scope["client"]
            assert running.address == scope["server"]
            assert (b"cookie", "é=1".encode("latin-1")) in scope["headers"]
            assert "method" not in scope
            await app.accept()
            assert await wire.answer() == 101
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_the_answer_has_what_the_application_adds(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request("/", "Sec-WebSocket-Protocol: chat, talk")])
            headers = [(b"X-One", b"1"), (b"set-cookie", b"a=b\xe9")]
            await app.accept(subprotocol="talk", headers=headers)
            assert await wire.answer() == 101
            date = wire.headers["date"]
            assert wire.headers == {
                "upgrade": "websocket",
                "connection": "Upgrade",
                "sec-websocket-accept": ACCEPT,
                "sec-websocket-protocol": "talk",
                "x-one": "1",
                "set-cookie": "a=bé",
                "server": "tercio",
                "date": date,
            }
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


@pytest.mark.parametrize(
    "more",
    [
        {"headers": [(b"x", b"a\r\nset-cookie: b")]},
        {"headers": [(b"x", b"a\nb")]},
        {"headers": [(b"x", b"a\x00")]},
        {"headers": [(b"x y", b"a")]},
        {"headers": [(b"x:", b"a")]},
        {"headers": [(b"", b"a")]},
        {"headers": [(b"upgrade", b"h2c")]},
        {"headers": [(b"Connection", b"close")]},
        {"headers": [(b"Sec-WebSocket-Accept", b"mine")]},
        {"headers": [(b"sec-websocket-extensions", b"x")]},
        {"headers": [(b"content-length", b"5")]},
        {"subprotocol": "a\r\nx: y"},
        {"subprotocol": "a b"},
    ],
)
def test_an_answer_cannot_be_split(loop: str, more: dict[str, Any]) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            with pytest.raises(RuntimeError):
                await app.accept(**more)
            app.ends()
            assert await wire.answer() == 500

    over(loop, app, main, complaints=1)


REFUSED = [
    (request().replace(b"Version: 13", b"Version: 8"), 426),
    (request().replace(b"Version: 13", b"Version: thirteen"), 426),
    (request().replace(b"Sec-WebSocket-Version: 13\r\n", b""), 400),
    (request("/", "Sec-WebSocket-Version: 13"), 400),
    (request(key="short"), 400),
    (request(key="c2hvcnQ="), 400),
    (request(key="!" * 24), 400),
    (request(key=""), 400),
    (request("/", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
    (request("/", "Sec-WebSocket-Extensions: ;;,"), 400),
    (request("/", "Sec-WebSocket-Protocol: a b"), 400),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED)
def test_a_wrong_request_is_refused(loop: str, sent: bytes, status: int) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([sent])
            assert status == await wire.answer()
            assert wire.headers["connection"] == "close"
            if b"Version: 13" not in sent or sent.count(b"Version") > 1:
                assert wire.headers["sec-websocket-version"] == "13"
            if status == 426:
                assert wire.headers["upgrade"] == "websocket"
            body = wire.body + await wire.rest()
            assert len(body) == int(wire.headers["content-length"])

    over(loop, _never, main)


async def _never(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan", "the application is not asked"
    await lifespan(receive, send)


def test_who_closes_before_it_accepts_answers_403(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.called()
            await app.hears()
            await app.send({"type": "websocket.close", "code": 4000})
            assert await wire.answer() == 403
            assert wire.headers["content-length"] == "0"
            assert await wire.rest() == b""
            gone = {"type": "websocket.disconnect", "code": 1006, "reason": ""}
            assert [gone, gone] == [await app.hears(), await app.hears()]
            app.ends()

    over(loop, app, main)


@pytest.mark.parametrize("error", [None, ValueError("as asked")])
def test_who_fails_before_it_accepts_answers_500(loop: str, error: Exception | None) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.called()
            app.ends(error)
            assert await wire.answer() == 500
            assert wire.body + await wire.rest() == b"Internal Server Error"

    over(loop, app, main, failed=int(error is not None), complaints=1)


def test_what_comes_before_the_answer_waits_for_it(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            early = encode(TEXT, b"early")
            await wire.send([request() + early[:3], early[3:], early])
            await app.accept()
            assert await app.hears() == {"type": "websocket.receive", "text": "early"}
            assert await app.hears() == {"type": "websocket.receive", "text": "early"}
            app.ends()
            assert await wire.answer() == 101
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_a_websocket_may_follow_requests_on_a_connection(loop: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await echo(scope, receive, send)
            return
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + request() + encode(TEXT, b"x")])
            got = b""
            while (
                b"101 Switching" not in got or got.count(b"\r\n\r\n") < 2 or b"\x81\x01x" not in got
            ):
                got += await wire.receive()
            assert got.startswith(b"HTTP/1.1 200 OK")
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


# Answers of the application instead of a WebSocket.


def _start(status: int = 401, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": START, "status": status, "headers": headers}


async def _deny(running: Running, app: Told, *messages: Message) -> tuple[WebSocketWire, bytes]:
    async with WebSocketWire(running.address) as wire:
        await wire.send([request()])
        await app.called()
        await app.hears()
        for message in messages:
            await app.send(message)
        await wire.answer()
        body = wire.body + await wire.rest()
        app.ends()
        return wire, body


def test_a_denial_in_one_part_tells_its_length(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        challenge = (b"WWW-Authenticate", b"Basic")
        wire, body = await _deny(
            running, app, _start(401, challenge), {"type": BODY, "body": b"no"}
        )
        assert wire.head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert body == b"no"
        assert wire.headers | {"date": ""} == {
            "date": "",
            "server": "tercio",
            "www-authenticate": "Basic",
            "content-type": "text/plain; charset=utf-8",
            "content-length": "2",
            "connection": "close",
        }
        assert (await app.hears())["code"] == 1006

    over(loop, app, main)


def test_a_denial_in_many_parts_is_streamed(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        parts = [{"type": BODY, "body": part, "more_body": True} for part in (b"one", b"", b"two")]
        wire, body = await _deny(
            running, app, _start(503, (b"content-type", b"text/html")), *parts, {"type": BODY}
        )
        assert wire.headers["transfer-encoding"] == "chunked"
        assert wire.headers["content-type"] == "text/html"
        assert "content-length" not in wire.headers
        assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"

    over(loop, app, main)


def test_a_denial_may_tell_its_length_itself(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        parts = [{"type": BODY, "body": part, "more_body": True} for part in (b"one", b"two")]
        wire, body = await _deny(
            running, app, _start(404, (b"Content-Length", b"6")), *parts, {"type": BODY}
        )
        assert (wire.headers["content-length"], body) == ("6", b"onetwo")

    over(loop, app, main)


def test_a_denial_may_have_no_body(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        wire, body = await _deny(running, app, _start(204), {"type": BODY, "body": b"none"})
        assert "content-length" not in wire.headers
        assert body == b""

    over(loop, app, main)


@pytest.mark.parametrize(
    "messages",
    [
        [_start(101)],
        [_start(600)],
        [_start(400, (b"x", b"a\r\nb: c"))],
        [_start(400, (b"content-length", b"5"), (b"content-length", b"5"))],
        [_start(400, (b"content-length", b"-5"))],
        [_start(400), _start(400)],
        [_start(400), {"type": "websocket.accept"}],
        [_start(400, (b"content-length", b"2")), {"type": BODY, "body": b"one"}],
        [_start(400, (b"content-length", b"4")), {"type": BODY, "body": b"one"}],
        [{"type": BODY, "body": b"no"}],
        [{"type": "websocket.send", "text": "x"}],
        [{"type": "http.response.start", "status": 200}],
    ],
)
def test_a_denial_that_cannot_be_sent_is_refused(loop: str, messages: list[Message]) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.called()
            *good, bad = messages
            for message in good:
                await app.send(message)
            with pytest.raises(RuntimeError):
                await app.send(bad)
            app.ends(ValueError("as asked"))
            assert await wire.answer() == 500
            assert wire.body + await wire.rest() == b"Internal Server Error"

    over(loop, app, main, failed=1)


def test_a_denial_that_breaks_off_is_seen_to_be_cut(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.called()
            await app.send(_start(500))
            await app.send({"type": BODY, "body": b"one", "more_body": True})
            app.ends(ValueError("as asked"))
            assert await wire.answer() == 500
            assert wire.body + await wire.rest() == b"3\r\none\r\n"

    over(loop, app, main, failed=1)
