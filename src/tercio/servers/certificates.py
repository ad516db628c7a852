"""Notice that TLS files changed, and make a context of the new ones if they are any good.

A context in use is never touched: loading a certificate whose key does not fit leaves OpenSSL
with half of a pair. Who serves takes the new context for its next connections.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from tercio.config import Config
from tercio.http import tls

_SHORTEST: Final = 0.25
"""Seconds between two looks: an idle worker sleeps."""

_SETTLED: Final = 2.0
"""Seconds after a change for which a pair that cannot be used may still be half written."""


class Holder(Protocol):
    """Who uses the context for connections to come."""

    tls: ssl.SSLContext | None


class Certificates:
    """The files of one configuration, which have just been read.

    ``note`` takes a level and a line, ``certified`` the Unix time at which the certificate that is
    used from now on ends.
    """

    def __init__(
        self,
        config: Config,
        note: Callable[[str, str], None],
        certified: Callable[[int], None],
    ) -> None:
        files = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
        self._files = [file for file in files if file]
        self._config = config
        self._note = note
        self._certified = certified
        self._seen = self._state()
        self._next: asyncio.TimerHandle | None = None
        self._expires = tls.expiry(config.ssl_certfile)
        certified(self._expires)

    def watch(self, holder: Holder) -> None:
        """Look from time to time, and give ``holder`` a new context when there is one."""
        if interval := self._config.ssl_check_interval:
            loop = asyncio.get_running_loop()
            self._next = loop.call_later(max(interval, _SHORTEST), self._look, holder)

    def close(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()

    def _look(self, holder: Holder) -> None:
        if (context := self.renewed()) is not None:
            holder.tls = context
        self.watch(holder)

    def renewed(self) -> ssl.SSLContext | None:
        """A context of the files if they changed since the last look and can be used."""
        state = self._state()
        if state == self._seen:
            return None
        expires = tls.expiry(self._config.ssl_certfile)
        try:
            context = tls.context(self._config)
            now = time.time()
            if expires and expires <= now < self._expires:
                raise ValueError("it has expired")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            newest = max(mtime for mtime, *_ in state)
            if abs(time.time() - newest / 1e9) < _SETTLED:
                return None  # one file of two, as it seems: the next look sees both
            self._seen = state
            self._note(
                "error", f"{self._files[0]} changed and cannot be used; the old one stays: {error}"
            )
            return None
        self._seen = state
        self._expires = expires
        self._certified(expires)
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
