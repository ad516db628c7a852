"""As little ASGI as these programs need: a path is a coroutine function, its result is the body."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Page = Callable[..., Awaitable[object]]


def application(
    pages: Mapping[str, Page], background: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> App:
    """Make an application of pages; each gets the words of the query as arguments.

    ``background`` runs in each worker from its start-up to its shut-down.
    """

    async def live(receive: Receive, send: Send) -> None:
        await receive()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(background()) if background is not None else None
            await send({"type": "lifespan.startup.complete"})
            await receive()
            if task is not None:
                task.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await live(receive, send)
        page = pages.get(scope["path"])
        status, text = 404, "There is nothing here."
        if page is not None:
            query = dict(parse_qsl(scope["query_string"].decode()))
            status, text = 200, str(await page(**query))
        body = text.encode()
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    return app
