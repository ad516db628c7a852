"""A small ASGI application to try Tercio with: ``tercio run examples.hello:app -w 4``.

/                  a greeting
/pid               which process answered, and which worker that is
/slow?seconds=2    an answer that takes its time
/stream            a line a second, without end
/visits            how often this was asked, of any worker
/hear              what others say, as it comes
/say?text=Hello    say it to all who hear, on any worker
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from tercio import cluster

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """An ASGI application without a framework."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await respond(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1000})


async def lifespan(receive: Receive, send: Send) -> None:
    """Open what the application needs on start-up, close it on shut-down."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def respond(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one request."""
    query = parse_qs(scope["query_string"].decode())
    match scope["path"]:
        case "/":
            await answer(send, 200, "Hello from Tercio!\n")
        case "/pid":
            await answer(send, 200, f"pid {os.getpid()}, worker {cluster.worker.id}\n")
        case "/slow":
            seconds = float(query.get("seconds", ["1"])[0])
            await asyncio.sleep(seconds)
            await answer(send, 200, f"That took {seconds:g} s.\n")
        case "/stream":
            await stream(receive, send, ticks())
        case "/visits":
            await answer(send, 200, f"{await cluster.state.incr('visits')} visits\n")
        case "/hear":
            async with cluster.bus.subscribe("hello.said", type=str) as sayings:
                await stream(receive, send, sayings)
        case "/say":
            text = query.get("text", ["Hello"])[0]
            cluster.bus.publish("hello.said", f"worker {cluster.worker.id}: {text}\n")
            await answer(send, 200, "Said.\n")
        case _:
            await answer(send, 404, "There is nothing here.\n")


async def ticks() -> AsyncIterator[str]:
    """A line a second, for ever."""
    number = 0
    while True:
        number += 1
        yield f"tick {number}\n"
        await asyncio.sleep(1)


async def answer(send: Send, status: int, text: str) -> None:
    """Send a whole answer."""
    body = text.encode()
    await start(send, status, [(b"content-length", str(len(body)).encode())])
    await send({"type": "http.response.body", "body": body})


async def stream(receive: Receive, send: Send, lines: AsyncIterator[str]) -> None:
    """Send an answer piece by piece, until it ends or the client has gone."""
    await start(send, 200, [])
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(disconnect(receive))
        sending = group.create_task(send_all(send, lines))
        await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        sending.cancel()


async def send_all(send: Send, lines: AsyncIterator[str]) -> None:
    """Send lines as they come."""
    async for line in lines:
        await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def disconnect(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Send the head of an answer."""
    kind = (b"content-type", b"text/plain; charset=utf-8")
    await send({"type": "http.response.start", "status": status, "headers": [kind, *headers]})
