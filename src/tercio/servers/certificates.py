"""Notice that TLS files changed, and make a context of the new ones if they are any good.

A context in use is never touched: loading a certificate whose key does not fit leaves OpenSSL
with half of a pair. Who serves takes the new context for its next connections.
"""

import os
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime


class Certificates:
    """The files of one configuration."""

    def __init__(
        self,
        files: Sequence[str],
        make: Callable[[], ssl.SSLContext | None],
        note: Callable[[str, str], None],
    ) -> None:
        self._files = [file for file in files if file]
        self._make = make
        self._note = note
        self._seen = self._state()

    def renewed(self) -> ssl.SSLContext | None:
        """A context of the files if they changed since the last look and can be used."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            context = self._make()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self._note(
                "error", f"{self._files[0]} changed and cannot be used; the old one stays: {error}"
            )
            return None
        at = datetime.fromtimestamp(max(mtime for mtime, *_ in state) / 1e9, UTC)
        self._note("info", f"{self._files[0]} was read again (changed {at:%Y-%m-%d %H:%M:%S} UTC)")
        return context

    def _state(self) -> list[tuple[int, int, int]]:
        return [_look(file) for file in self._files]


def _look(file: str) -> tuple[int, int, int]:
    try:
        status = os.stat(file)
    except OSError:  # being replaced: seen as a change now, and as another one when it is back
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
