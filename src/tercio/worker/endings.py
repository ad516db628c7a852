"""End this process for certain: politely, and not so politely when something hangs."""

import logging
import os
import sys
import threading
import time
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds for exit handlers, and for threads of the application that are not daemons.

A thread of a WSGI application that was cut never ends by itself, and Python waits for it.
"""


def leave(code: int) -> int:
    """Flush, and make sure that the process ends with ``code`` soon after this returns."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # closed, or nobody reads it any more: there is nobody left to tell
    threading.Thread(target=_insist, args=(code,), name="tercio-ending", daemon=True).start()
    return code


def _insist(code: int) -> None:
    time.sleep(_PATIENCE)
    os._exit(code)
