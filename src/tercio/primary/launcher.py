"""The program that launched this cluster from Python: it hears of the start, and is not outlived.

Its end of a socket pair is its life. When that is closed, by its exit or by SIGKILL, the cluster
ends at once: nobody would be left to stop it.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tercio.core import inputs
from tercio.core.events import ClusterStarted
from tercio.errors import ConfigError, ExitCode, TercioError
from tercio.primary.journal import Entry, Journal

_log = logging.getLogger("tercio")


class Launcher:
    """The other end of the socket that the launch record names."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)

    @classmethod
    def of(cls, descriptor: object) -> Self | None:
        """None where a command line started this cluster."""
        if not isinstance(descriptor, int):
            return None
        return cls(socket.socket(fileno=descriptor))  # from here on no worker inherits it

    def refuse(self, error: TercioError) -> None:
        """Say why there will be no cluster."""
        code = 2 if isinstance(error, ConfigError) else 1
        self._say({"error": str(error), "kind": type(error).__name__, "exit": code})

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        directory: str,
        tell: Callable[[inputs.Input], None],
    ) -> None:
        """Tell it where the control socket is once it answers, and stop when it is gone."""

        def hear(entry: Entry) -> None:
            if isinstance(entry.event, ClusterStarted):
                self._say({"directory": directory, "event": entry.to_json()})

        def look() -> None:
            try:
                if self._socket.recv(4096):
                    return  # it has nothing to say here
            except BlockingIOError:
                return
            except OSError:
                pass
            loop.remove_reader(self._socket.fileno())
            _log.warning(
                "the program that launched this cluster is gone, or wants it gone: ending at once"
            )
            tell(inputs.StopAsked(ExitCode.FORCED_TERM, at_once=True))

        journal.subscribe(hear)
        loop.add_reader(self._socket.fileno(), look)

    def _say(self, message: dict[str, object]) -> None:
        # Gone already: then `look` ends the cluster. The line is short, and the first one.
        with suppress(OSError):
            self._socket.send(json.dumps(message).encode() + b"\n")
