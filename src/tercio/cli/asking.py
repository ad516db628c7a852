"""Talk to a primary over its control socket, in an event loop: the twin of `client`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from tercio.cli.client import (
    CONNECT_TIMEOUT,
    LARGEST_LINE,
    Disconnected,
    Done,
    Message,
    Told,
    meaning,
    request_line,
)
from tercio.errors import NoCluster, ProtocolError
from tercio.system import rundir


async def ask(directory: Path, what: str, arguments: Mapping[str, object]) -> Message:
    """Send a request and return its result.

    Waits as long as the primary works on it. Raises `NoCluster`, `RequestFailed`, `Disconnected`
    and `ProtocolError`.
    """
    async with aclosing(converse(directory, what, arguments)) as said:
        async for message in said:
            if isinstance(message, Done):
                return message.result
    raise Disconnected(f"the primary at {directory} went away before it answered")


async def converse(
    directory: Path, what: str, arguments: Mapping[str, object]
) -> AsyncGenerator[Told | Done, None]:
    """Send a request and yield what the primary says, `Done` being the last. Close it."""
    path = directory / rundir.CONTROL
    async with _connection(path) as (reader, writer):
        try:
            writer.write(request_line(what, arguments))
            await writer.drain()
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    break
                message = meaning(line, path)
                yield message
                if isinstance(message, Done):
                    return
        except OSError as error:
            raise Disconnected(f"lost the primary at {path}: {error.strerror}") from error
        except ValueError as error:  # longer than the limit
            raise ProtocolError(f"the primary at {path} sent a line without an end") from error
    raise Disconnected(f"the primary at {path} went away before it answered")


@asynccontextmanager
async def _connection(
    path: Path,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=LARGEST_LINE)
    except OSError as error:  # TimeoutError is one
        reason = error.strerror or "it does not take connections"
        raise NoCluster(f"no cluster answers at {path}: {reason}") from error
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # nothing of ours waits to be sent that anybody needs
