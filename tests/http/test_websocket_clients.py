"""Real clients: `websockets` and aiohttp."""

import asyncio
import contextlib
import os
import ssl
from typing import Any

import aiohttp
import pytest
import trustme
import websockets
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tercio.http.asgi import Receive, Scope, Send
from tests.http.harness import LIMIT, Running
from tests.http.upgraded import lifespan, over

MESSAGES: tuple[str | bytes, ...] = (
    "",
    "hello",
    b"\x00\xff" * 10,
    "é" * 5000,
    os.urandom(100_000),
    "x" * 1_000_000,
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An echo; what its path or its messages say else."""
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await lifespan(receive, send)
            return
        case _, "/denied":
            await receive()
            headers = [(b"x-why", b"because")]
            start = {"type": "websocket.http.response.start", "status": 418, "headers": headers}
            await send(start)
            await send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"pot"})
            return
        case _, "/forbidden":
            await receive()
            await send({"type": "websocket.close"})
            return
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "leave":
            await send({"type": "websocket.close", "code": 4000, "reason": "as you say"})
            return
        await send(dict(message, type="websocket.send"))


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websockets_talks_with_us(loop: str, compression: str | None) -> None:
    async def main(running: Running) -> None:
        url = "ws://{}:{}/".format(*running.address)
        async with connect(
            url,
            max_size=None,
            compression=compression,
            subprotocols=[Subprotocol("a"), Subprotocol("b")],
        ) as client:
            assert client.subprotocol == "b"
            assert bool(client.protocol.extensions) == bool(compression)
            for message in MESSAGES:
                await client.send(message)
                answer = await client.recv()
                assert type(answer) is type(message)
                is_equal = answer == message
                assert is_equal
            await client.send(["in ", "two parts"])
            assert await client.recv() == "in two parts"
            await asyncio.wait_for(await client.ping(), LIMIT)
            await client.close(4321, "enough")
        assert (client.close_code, client.close_reason) == (4321, "enough")

    over(loop, app, main)


def test_websockets_hears_why_it_is_left(loop: str) -> None:
    async def main(running: Running) -> None:
        url = "ws://{}:{}/".format(*running.address)
        async with connect(url) as client:
            await client.send("leave")
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert (client.close_code, client.close_reason) == (4000, "as you say")
        with pytest.raises(websockets.InvalidStatus) as denied:
            await connect(url + "denied")
        response = denied.value.response
        assert (response.status_code, response.body) == (418, b"teapot")
        assert response.headers["x-why"] == "because"
        with pytest.raises(websockets.InvalidStatus) as forbidden:
            await connect(url + "forbidden")
        assert forbidden.value.response.status_code == 403

    over(loop, app, main)


@pytest.mark.parametrize("compress", [15, 9, 0])
def test_aiohttp_talks_with_us(loop: str, compress: int) -> None:
    async def main(running: Running) -> None:
        url = "http://{}:{}/".format(*running.address)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                url, compress=compress, max_msg_size=0, protocols=["a", "b"]
            ) as client,
        ):
            assert client.protocol == "b"
            assert bool(client.compress) == bool(compress)
            for message in MESSAGES:
                if isinstance(message, str):
                    await client.send_str(message)
                    is_equal = await client.receive_str() == message
                else:
                    await client.send_bytes(message)
                    is_equal = await client.receive_bytes() == message
                assert is_equal
            await client.ping(b"still there?")
            await client.send_str("leave")
            last = await client.receive()
            assert (last.type, last.data, last.extra) == (
                aiohttp.WSMsgType.CLOSE,
                4000,
                "as you say",
            )

    over(loop, app, main)


def test_websockets_talks_with_us_over_tls(loop: str, tmp_path: Any) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def main(running: Running) -> None:
        url = f"wss://localhost:{running.address[1]}/"
        async with connect(url, ssl=trusting, host="127.0.0.1", max_size=None) as client:
            for message in MESSAGES:
                await client.send(message)
                is_equal = await client.recv() == message
                assert is_equal
            # Too large while it is still being sent: the reason arrives over TLS, too.
            with contextlib.suppress(websockets.ConnectionClosed):
                await client.send(os.urandom(1_100_000))
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1009

    over(loop, app, main, ssl_keyfile=str(key), ssl_certfile=str(chain))


@pytest.mark.parametrize("deflate", [True, False])
def test_many_talk_at_once(loop: str, deflate: bool) -> None:
    async def main(running: Running) -> None:
        url = "ws://{}:{}/".format(*running.address)

        async def talk(number: int) -> None:
            async with connect(url) as client:
                for count in range(20):
                    await client.send(f"{number} {count}" * (count * 20))
                for count in range(20):
                    assert await client.recv() == f"{number} {count}" * (count * 20)

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(talk(number))
        assert running.counts.opened == 50

    over(loop, app, main, ws_per_message_deflate=deflate)
