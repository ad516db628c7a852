"""Applications that tell about their process."""

import os
import resource

from tests.worker.apps import Message, Receive, Send, answer

COLOUR = os.environ.get("RIG_COLOUR", "")


async def app(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await answer(send, COLOUR)


async def limits(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    numbers = resource.getrlimit(resource.RLIMIT_NOFILE) + resource.getrlimit(resource.RLIMIT_CPU)
    await answer(send, " ".join(map(str, numbers)))
