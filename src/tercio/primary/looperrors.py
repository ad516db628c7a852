"""Report what fails inside the event loop: a want of descriptors in one line, our bugs in full."""

import asyncio
import errno
import logging
from typing import Any, Final

_log = logging.getLogger("tercio")

_SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_QUIET: Final = 10.0  # seconds


class LoopErrors:
    """The exception handler of a loop whose only listener is the control socket."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _SCARCE or "socket" not in context:
            loop.default_exception_handler(context)
            return
        # asyncio (3.11) says so for each place in the queue of the listener, every second.
        if loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + _QUIET
            _log.warning(
                "the control socket takes no client: %s (see ulimit -n); "
                "it is tried again every second",
                error.strerror,
            )
