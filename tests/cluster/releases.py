"""Releases of one small application: good ones, and ones that are broken in a chosen place."""

from typing import Final

TEXT: Final = '''
import asyncio
import os
import sys

RELEASE = "@name@"
READY_STATUS = @ready@

@at_import@

async def app(scope, receive, send):
    match scope["type"]:
        case "lifespan":
            await lifespan(receive, send)
        case "websocket":
            await echo(receive, send)
        case _:
            await answer(scope, receive, send)


async def lifespan(receive, send):
    await receive()
    @at_startup@
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def signature(rest=b""):
    return f"{RELEASE} {os.getpid()} ".encode() + rest


async def answer(scope, receive, send):
    match scope["path"].removeprefix(scope.get("root_path", "")):
        case "/ready":
            await reply(send, signature(), READY_STATUS)
        case "/echo":
            await reply(send, signature(await read_all(receive)))
        case "/root":
            await reply(send, signature(scope.get("root_path", "").encode()))
        case "/download":
            await download(int(scope["query_string"]), send)
        case "/endless":
            await endless(send)
        case "/block":
            import time
            time.sleep(float(scope["query_string"]))
            await reply(send, signature())
        case _:
            await reply(send, signature())


async def reply(send, body, status=200):
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_all(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def download(milliseconds, send):
    """40 pieces of 1 KiB, each another byte, over a while."""
    headers = [(b"x-release", signature()), (b"content-length", b"40960")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(40):
        await asyncio.sleep(milliseconds / 40_000)
        piece = bytes([number]) * 1024
        await send({"type": "http.response.body", "body": piece, "more_body": number < 39})


async def endless(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": signature(), "more_body": True})
        await asyncio.sleep(0.05)


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": signature().decode() + message["text"]})
'''


def release(name: str, *, at_import: str = "", at_startup: str = "pass", ready: int = 200) -> str:
    """The application's text; ``at_import`` and ``at_startup`` are statements to run there."""
    text = TEXT.replace("@name@", name).replace("@ready@", str(ready))
    indented = at_startup.strip().replace("\n", "\n    ")
    return text.replace("@at_import@", at_import.strip()).replace("@at_startup@", indented)


def fail_at_start(number: int, directory: str) -> str:
    """Statements that raise in the ``number``-th process that runs them, counted in files."""
    return f"""
for _turn in range(1, 100):
    try:
        os.close(os.open({directory!r} + f"/start{{_turn}}", os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        pass
if _turn == {number}:
    raise RuntimeError("start {number} of this release fails")
"""
