"""Ask the primary over its control socket, without ever holding up the loop."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from tercio.errors import ControlError
from tercio.system import rundir

_LARGEST_LINE: Final = 16 << 20


class Control:
    """A cluster's control socket. Connected to for each request, as its protocol wants it."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, rundir.CONTROL)

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
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_LARGEST_LINE)
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
