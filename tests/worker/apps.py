"""Applications for the tests: plain ASGI, so that nothing but the worker is tested."""

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Whatever the path says."""
    match scope["type"]:
        case "lifespan":
            await lifespan(receive, send)
        case "websocket":
            await websocket(receive, send)
            if scope["path"] == "/raise":
                raise ValueError("as asked")
        case _:
            await page(scope, receive, send)


async def page(scope: Message, receive: Receive, send: Send) -> None:
    query = {key: value[-1] for key, value in parse_qs(scope["query_string"].decode()).items()}
    match scope["path"]:
        case "/slow":
            await asyncio.sleep(float(query["seconds"]))
        case "/afterwards":
            await answer(send, "at once")
            await asyncio.sleep(float(query["seconds"]))
            os.write(int(os.environ["RIG_NEWS"]), b"done\n")
            return
        case "/block":
            time.sleep(float(query["seconds"]))
        case "/block-nowhere":
            # The working directory is gone, as after a deployment that removed an old release.
            gone = tempfile.mkdtemp()
            os.chdir(gone)
            os.rmdir(gone)
            # Code that was compiled from a relative name, as of a template.
            exec(compile("time.sleep(1)", "page.html", "exec"), {"time": time})
        case "/hold-the-lock":
            # A regular expression that backtracks for ever runs in C and never lets go of the GIL.
            os.write(int(os.environ["RIG_NEWS"]), b"holding\n")
            re.fullmatch(r"(x+x+)+y", "x" * 64)
        case "/debugged":
            # What a debugger does while somebody steps through a handler.
            sys.settrace(lambda frame, event, argument: None)
            sys._getframe().f_trace = lambda frame, event, argument: None
            time.sleep(float(query["seconds"]))
            sys._getframe().f_trace = None
            sys.settrace(None)
        case "/exit":
            sys.exit(3)
        case "/exit-in-task":
            async with asyncio.TaskGroup() as group:
                group.create_task(leave())
        case "/raise":
            raise ValueError("as asked")
        case "/stop-loop":
            asyncio.get_running_loop().stop()
        case "/stream":
            await start(send)
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0.05)
        case "/body":
            size = 0
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                size += len(message["body"])
                more = message["more_body"]
            await answer(send, str(size))
            return
        case "/fork":
            await answer(send, str(fork()))
            return
        case "/who":
            from tercio import cluster

            await answer(send, f"{cluster.mode} {cluster.worker.id} {cluster.worker.generation}")
            return
    await answer(send, str(os.getpid()))


async def leave() -> None:
    sys.exit(4)


def fork() -> int:
    """A child that lives until its parent's stdin-less pipe is closed by a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            from tercio import cluster

            try:
                said = cluster.mode
            except Exception as error:
                said = type(error).__name__  # type: ignore[assignment]
            os.write(int(os.environ["RIG_NEWS"]), f"{os.getpid()} {said}\n".encode())
            while os.read(int(os.environ["RIG_HOLD"]), 1):
                pass
        finally:
            os._exit(0)
    return pid


async def answer(send: Send, text: str) -> None:
    body = text.encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def websocket(receive: Receive, send: Send) -> None:
    """An echo."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
