"""Turn the event loop until the worker's life is over, whatever the application does to the loop.

asyncio lets ``SystemExit`` and ``KeyboardInterrupt`` out of any task end the whole loop, and
``loop.stop()`` may be called by anyone. A handler that does so below a task group (as every
middleware of Starlette's BaseHTTPMiddleware is) would take all other requests with it.
"""

import asyncio
import logging
import os
from typing import Any

_log = logging.getLogger("tercio.worker")


def turn(loop: asyncio.AbstractEventLoop, life: asyncio.Task[int]) -> int:
    """Run ``life`` to its end and return its result."""
    pid = os.getpid()
    while True:
        try:
            return loop.run_until_complete(life)
        except BaseException as error:
            if os.getpid() != pid:
                # Application code forked, and its child came back here instead of ending.
                os._exit(_exit_code(error))
            if life.done() or not isinstance(error, SystemExit | KeyboardInterrupt | RuntimeError):
                raise
            _log.error("the application tried to end the event loop, which goes on", exc_info=error)


def _exit_code(error: Any) -> int:
    code = getattr(error, "code", 1)
    return code if isinstance(code, int) else 1
