"""The bare ASGI application that every server serves. What it answers is what `load` expects."""

from typing import Any

HELLO = b"Hello, world!"
MEBIBYTE = bytes(range(256)) * 4096

_TEXT = (b"content-type", b"text/plain")


def _start(size: int) -> dict[str, Any]:
    headers = [_TEXT, (b"content-length", b"%d" % size)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


_HELLO_START, _HELLO_BODY = _start(len(HELLO)), {"type": "http.response.body", "body": HELLO}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        match scope["path"]:
            case "/":
                await send(_HELLO_START)
                await send(_HELLO_BODY)
            case "/echo":
                await _answer(send, b"".join(await _parts(receive)))
            case "/size":
                await _answer(send, b"%d" % sum(map(len, await _parts(receive))))
            case "/mebibyte":
                await _answer(send, MEBIBYTE)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        await _lifespan(receive, send)


async def _answer(send: Any, body: bytes) -> None:
    await send(_start(len(body)))
    await send({"type": "http.response.body", "body": body})


async def _parts(receive: Any) -> list[bytes]:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts


async def _echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
