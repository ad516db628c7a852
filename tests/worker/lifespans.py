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


async def is_cancelled(scope: Message, receive: Receive, send: Send) -> None:
    raise asyncio.CancelledError("the pool is empty")


async def is_cancelled_later(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    raise asyncio.CancelledError("the pool is empty")


async def raises_a_bare_key_error(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    raise KeyError


async def raises_an_odd_key_error(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    raise KeyError([])


async def cancels_its_shut_down(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise asyncio.CancelledError("the pool is gone")


async def cancels_others(scope: Message, receive: Receive, send: Send) -> None:
    """It ends all tasks but its own, whatever happens to it."""
    if scope["type"] != "lifespan":
        await end_all_tasks()
        await page(scope, receive, send)
        return
    await receive()
    await end_all_tasks()
    await send({"type": "lifespan.startup.complete"})
    while True:
        try:
            await receive()
            break
        except asyncio.CancelledError:
            pass
    await end_all_tasks()
    os.write(int(os.environ["RIG_NEWS"]), b"shut down\n")
    await send({"type": "lifespan.shutdown.complete"})


async def end_all_tasks() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0.1)
