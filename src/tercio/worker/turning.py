"""Turn the event loop until the worker's life is over, whatever the application does to the loop.

asyncio lets ``SystemExit`` and ``KeyboardInterrupt`` out of any task end the whole loop, and
anyone may call ``loop.stop()``, or cancel every task that ``asyncio.all_tasks()`` lists. A handler
that does so, below a task group even (as every middleware of Starlette's BaseHTTPMiddleware is),
would take all other requests with it.
"""

import asyncio
import logging
import os

_log = logging.getLogger("tercio.worker")


def turn(loop: asyncio.AbstractEventLoop, life: asyncio.Task[int]) -> int:
    """Run ``life`` to its end and return its result."""
    pid = os.getpid()
    # What the loop runs for cannot be hidden as `life` is: anyio takes it for the owner of its
    # threads. So it does nothing but wait, and is made anew when it was cancelled.
    root = loop.create_task(_wait_for(life), name="tercio-root")
    while not life.done():
        if root.done():
            root = loop.create_task(_wait_for(life), name="tercio-root")
        try:
            loop.run_until_complete(root)
        except BaseException as error:
            if os.getpid() != pid:
                # Application code forked, and its child came back here instead of ending.
                os._exit(exit_code(error))
            if isinstance(error, asyncio.CancelledError):
                _log.warning("the application cancelled all tasks; the worker goes on")
                continue
            if life.done() or not isinstance(error, SystemExit | KeyboardInterrupt | RuntimeError):
                raise
            _log.error("the application tried to end the event loop, which goes on", exc_info=error)
    return life.result()


async def _wait_for(life: asyncio.Task[int]) -> None:
    await asyncio.wait({life})


def exit_code(error: BaseException | None) -> int:
    """With what a process ends that leaves its code like this."""
    if error is None:
        return 0
    code: object = getattr(error, "code", 1)
    return 0 if code is None else code if isinstance(code, int) else 1
