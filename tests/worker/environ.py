"""Applications that tell about their process."""

import resource

from tests.worker.apps import Message, Receive, Send, answer


async def limits(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    numbers = resource.getrlimit(resource.RLIMIT_NOFILE) + resource.getrlimit(resource.RLIMIT_CPU)
    await answer(send, " ".join(map(str, numbers)))
