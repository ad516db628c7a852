"""Start-ups that fail in different ways, and one that never ends."""

import asyncio
import os
import sys

from tests.worker.apps import Message, Receive, Send, page


async def says_failed(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the pool is empty"})


async def raises(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    raise RuntimeError("the pool is empty")


async def exits(scope: Message, receive: Receive, send: Send) -> None:
    sys.exit("the pool is empty")


async def refuses(scope: Message, receive: Receive, send: Send) -> None:
    """No lifespan: the server has to go on."""
    assert scope["type"] == "http"
    await page(scope, receive, send)


async def believes_in_requests(scope: Message, receive: Receive, send: Send) -> None:
    """It takes the start-up message for a request's body: no lifespan, either."""
    if (await receive())["type"] == "lifespan.startup":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    await page(scope, receive, send)


async def hangs(scope: Message, receive: Receive, send: Send) -> None:
    os.write(int(os.environ["RIG_NEWS"]), b"starting\n")
    await asyncio.Event().wait()
