"""Ask the primary in the words of its control socket, without ever holding up the loop.

Each request has a connection of its own: a pair of sockets, of which the primary gets one end over
the pipe that both have. The control socket itself is for the primary's user, whom this process may
not be.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from tercio.errors import ControlError
from tercio.system import rundir

_LARGEST_LINE: Final = 16 << 20


class Control:
    """A cluster's primary."""

    def __init__(self, pipe: socket.socket) -> None:
        """``pipe`` leads to the primary, and never blocks."""
        self._pipe = pipe

    async def ask(
        self, do: str, arguments: Mapping[str, object] | None = None, *, limit: float = 10.0
    ) -> dict[str, object]:
        """The result of a request.

        Raises `ControlError` for a refusal, `TimeoutError` after ``limit`` seconds, `OSError` where
        nobody answers.
        """
        async with asyncio.timeout(limit), aclosing(self.lines(do, arguments)) as lines:
            async for line in lines:
                match line:
                    case {"result": dict(result)}:
                        return result
                    case {"error": error}:
                        raise ControlError(str(error))
        raise ConnectionResetError("the primary went away before it answered")

    async def lines(
        self, do: str, arguments: Mapping[str, object] | None = None
    ) -> AsyncGenerator[dict[str, object], None]:
        """All that the primary says to a request. Raises `OSError` and `ControlError`."""
        reader, writer = await asyncio.open_connection(sock=self._connect(), limit=_LARGEST_LINE)
        try:
            request = {"version": rundir.PROTOCOL, "do": do, **(arguments or {})}
            writer.write(json.dumps(request).encode() + b"\n")
            while line := await reader.readline():
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message
        except ValueError as error:
            raise ControlError("the primary sent what is no message") from error
        finally:
            writer.transport.abort()

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._pipe, [b"c"], [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return ours
