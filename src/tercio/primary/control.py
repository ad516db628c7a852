"""The control socket: the only door to the primary.

A Unix socket in a private directory. Who connects must have our uid, or be root. Requests are
size-limited JSON lines; an answer is any number of ``{"event": …}`` lines and one ``{"result": …}``
or ``{"error": …}``.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Final

from tercio.errors import ControlError, ProtocolError
from tercio.primary.requests import Conversation, Runtime
from tercio.system.peer import peer_credentials

VERSION: Final = 1

_MOST_CLIENTS: Final = 32
_MOST_REQUEST_BYTES: Final = 64 * 1024
_MOST_UNSENT_BYTES: Final = 4 << 20  # a client that reads nothing is cut off here
_REQUEST_WAIT: Final = 10.0  # seconds to send the first request; later ones may take their time


class Control:
    """Serves the socket until it is closed."""

    def __init__(self, runtime: Runtime, path: str) -> None:
        self._runtime = runtime
        self._path = path
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. The directory is private already; the mode is the second lock."""
        old = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, self._path, limit=_MOST_REQUEST_BYTES
            )
        finally:
            os.umask(old)

    async def close(self) -> None:
        """Stop listening and let running conversations say their last line."""
        if self._server is not None:
            self._server.close()
        if self._clients:
            _, late = await asyncio.wait(self._clients, timeout=0.5)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # the client is gone or too slow; its request goes on
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refusal = self._refusal(writer)
        if refusal is not None:
            _send(writer, {"error": refusal, "exit": 1})
            await writer.drain()
            return
        try:
            async with asyncio.timeout(_REQUEST_WAIT):
                line = await reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            _send(writer, {"error": f"a request has at most {_MOST_REQUEST_BYTES} bytes"})
            await writer.drain()
            return
        _send(writer, await self._answer(line, reader, writer))
        await writer.drain()

    async def _answer(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, object]:
        try:
            request = _parse(line)
            conversation = Conversation(self._runtime, lambda item: _send(writer, item))
            answer = asyncio.ensure_future(conversation.answer(request))
            gone = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    raise ConnectionResetError("the client left")
                return {"result": await answer}
            finally:
                for task in (answer, gone):
                    task.cancel()
                await asyncio.gather(answer, gone, return_exceptions=True)
        except ControlError as error:
            return {"error": str(error), "exit": 1}

    def _refusal(self, writer: asyncio.StreamWriter) -> str | None:
        if len(self._clients) > _MOST_CLIENTS:
            return f"{_MOST_CLIENTS} clients are connected already"
        try:
            uid = peer_credentials(writer.get_extra_info("socket")._sock).uid
        except (ProtocolError, AttributeError):
            return "your identity cannot be read from the socket"
        if uid not in (0, os.geteuid()):
            return "the cluster belongs to another user"
        return None


def _parse(line: bytes) -> Mapping[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("the request is not JSON") from error
    if not isinstance(request, dict):
        raise ControlError("the request is not a JSON object")
    if request.get("version") != VERSION:
        raise ControlError(
            f"this cluster speaks control version {VERSION}; use the `tercio` it was started with"
        )
    return request


def _send(writer: asyncio.StreamWriter, message: Mapping[str, object]) -> None:
    if writer.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
        writer.transport.abort()
        raise ConnectionAbortedError("the client does not read")
    writer.write(json.dumps(message).encode() + b"\n")
