"""The ASGI application of the Python servers: it echoes the number of a request, and can block."""

import asyncio
import itertools
import os
import time
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

DIRECTORY = Path(os.environ["BENCH_DIR"])
RELEASE = (DIRECTORY / "release").read_text()
LIES = int(os.environ.get("BENCH_LIES", "0"))
"""Every so many answers, a wrong number: to see that the clients notice. 0: never."""

_answers = itertools.count(1)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    asked = parse_qs(scope["query_string"].decode())
    number = asked.get("id", ["0"])[0]
    match scope["path"]:
        case "/wait":  # beside others
            await asyncio.sleep(0.2)
        case "/slow":
            time.sleep(0.05)
        case "/block":
            _block(asked["kind"][0], float(asked["seconds"][0]))
        case "/echo":
            number = (await _body(receive)).decode()
    if LIES and next(_answers) % LIES == 0:
        number += "0"
    body = f"{RELEASE} {os.getpid()} {number}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _block(kind: str, seconds: float) -> None:
    """Hold the event loop."""
    deadline = time.monotonic() + seconds
    match kind:
        case "sleeping":  # gives the GIL away
            time.sleep(seconds)
        case "spinning":  # gives it away when another thread asks for it
            while time.monotonic() < deadline:
                pass
        case "holding":  # keeps it: one chain of calls in C, without a bytecode in between
            clock = itertools.starmap(time.monotonic, itertools.repeat(()))
            deque(itertools.takewhile(deadline.__gt__, clock), maxlen=0)


async def _body(receive: Any) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    (DIRECTORY / f"ready-{os.getpid()}").touch()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
