"""An application that is ready at its third probe, and one that never is."""

import asyncio
from itertools import count

from tests.worker.apps import Message, Receive, Send, answer

_probes = count(1)


async def later(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    status = 204 if next(_probes) >= 3 else 503
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def never(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    if scope["path"] == "/raises":
        raise ValueError("not yet")
    if scope["path"] == "/cancels-its-task":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
    if scope["path"] == "/cancels":
        raise asyncio.CancelledError("not yet")
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def make() -> object:
    return answer
