"""End this process for certain: politely, and not so politely when something hangs."""

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Final

PATIENCE: Final = 5.0
"""Seconds for exit handlers, and for threads of the application that are not daemons."""

NO_PATIENCE: Final = 0.25
"""The same when requests were cut.

A thread of a WSGI application that was cut may never end, and Python waits for it. With what a
drain takes after its limit this has to stay well below the primary's grace of a second.
"""


def leave(code: int, patience: float = PATIENCE) -> int:
    """Flush, and make sure that the process ends with ``code`` soon after this returns."""
    # Whatever the application made of these, or of its log handlers: it must not change the code.
    with suppress(Exception):
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, None, or nobody reads it any more: nobody to tell
            stream.flush()
    # Without a thread to insist, whoever overstays is ended by the primary.
    with suppress(RuntimeError):
        threading.Thread(
            target=_insist, args=(code, patience), name="tercio-ending", daemon=True
        ).start()
    return code


def _insist(code: int, patience: float) -> None:
    time.sleep(patience)
    os._exit(code)
