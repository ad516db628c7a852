"""End this process for certain: politely, and not so politely when something hangs."""

import logging
import os
import sys
import threading
import time
from typing import Final

PATIENCE: Final = 5.0
"""Seconds for exit handlers, and for threads of the application that are not daemons."""

NO_PATIENCE: Final = 0.5
"""The same when requests were cut.

A thread of a WSGI application that was cut may never end, Python waits for it, and the primary
kills a second after the limit.
"""


def leave(code: int, patience: float = PATIENCE) -> int:
    """Flush, and make sure that the process ends with ``code`` soon after this returns."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # closed, or nobody reads it any more: there is nobody left to tell
    threading.Thread(
        target=_insist, args=(code, patience), name="tercio-ending", daemon=True
    ).start()
    return code


def _insist(code: int, patience: float) -> None:
    time.sleep(patience)
    os._exit(code)
