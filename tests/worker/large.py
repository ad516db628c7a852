"""Applications whose reports would not fit into a message."""

import asyncio
import os
import sys
import types

from tests.worker.apps import Message, Receive, Send, page

if "RIG_RAISES" in os.environ:
    raise ValueError("gist " + "x" * 100_000)

for _number in range(600):
    _module = types.ModuleType(f"large_{_number}")
    _module.__file__ = f"/srv/{'deep/' * 40}{_number}.py"
    sys.modules[_module.__name__] = _module


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """It tells when its shut-down ran."""
    if scope["type"] != "lifespan":
        if scope["path"].startswith("/wait"):
            await asyncio.Event().wait()
        await page(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    os.write(int(os.environ["RIG_NEWS"]), b"shut down\n")
    await send({"type": "lifespan.shutdown.complete"})


async def raises(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("gist " + "x" * 100_000)
