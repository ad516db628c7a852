"""The control socket: the only door to the primary.

A Unix socket in a private directory. Who connects must have our uid, or be root. Where workers are
of another user there is a second one, at which their own children may attach, and nothing else. The
sidecar, which may be that user's, too, hands us connections over its pipe. A connection is one
request, a size-limited JSON line; the answer is any number of ``{"event": …}`` lines and one
``{"result": …}`` or ``{"error": …}``. docs/control-protocol.md describes it for people.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from tercio.errors import ControlError, CouldNotStart, ProtocolError
from tercio.primary.attachments import MOST_PER_MESSAGE, Attachments
from tercio.primary.requests import Conversation, Runtime, follows
from tercio.system import rundir
from tercio.system.peer import peer_credentials

LONGEST_PATH: Final = 103
"""Bytes of a Unix socket's name that every system takes."""

_MOST_CLIENTS: Final = 64
_MOST_FOLLOWERS: Final = 32  # of events: they stay, and must leave room for who asks and goes
_MOST_REQUEST_BYTES: Final = 96 * 1024
_REQUEST_WAIT: Final = 10.0  # seconds to send the request
_ANSWER_WAIT: Final = 2.0  # seconds for the answer to a client that has closed its side
_MOST_OF_SIDECAR: Final = 48  # of all clients: strangers make it ask
_GOODBYE_WAIT: Final = 1.0  # seconds for the client to hang up after its answer
_READ_WAIT: Final = 30.0  # seconds that a client may let a full buffer stand before it is cut off


@dataclass(frozen=True, slots=True)
class SideDoor:
    """A socket for processes that workers of another user have started: they may attach."""

    path: str
    """In a directory that only root and that user can enter."""
    uid: int
    admits: Callable[[int], bool]
    """Whether the process of that number is a worker's own."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The sidecar's own connections: nobody else has its pipe."""

    tokens: Callable[[], Mapping[str, object]]
    """The tokens of the admin API, which nobody else is told."""


class Control:
    """Serves the socket until it is closed."""

    def __init__(
        self,
        runtime: Runtime,
        attachments: Attachments,
        path: str,
        side_door: SideDoor | None = None,
    ) -> None:
        self._runtime = runtime
        self._attachments = attachments
        self._path = path
        self._side_door = side_door
        self._clients: set[asyncio.Task[None]] = set()
        # Not among the clients: however many there are, whoever has our uid is heard.
        self._children: set[asyncio.Task[None]] = set()
        self._followers = 0
        self._of_sidecar = 0
        self._attached: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        """Listen. The directory is private already; the mode is the second lock.

        Raises `CouldNotStart`.
        """
        await self._listen(self._path, 0o177, None)
        if (door := self._side_door) is not None:
            # For everybody who can enter its directory. Not given to its user: by then the name
            # might be another file's.
            await self._listen(door.path, 0o111, door)

    async def _listen(self, path: str, umask: int, door: SideDoor | None) -> None:
        old = os.umask(umask)
        try:
            server = await asyncio.start_unix_server(
                partial(self._serve, door), path, limit=_MOST_REQUEST_BYTES
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise CouldNotStart(f"cannot make the control socket {path}: {reason}") from error
        finally:
            os.umask(old)
        self._servers.append(server)

    def adopt(self, connection: socket.socket, tokens: Callable[[], Mapping[str, object]]) -> None:
        """Serve a connection that the sidecar has made."""
        connection.setblocking(False)
        # Nobody else refers to the task until it has begun.
        self._clients.add(asyncio.ensure_future(self._serve_inside(connection, Inside(tokens))))

    async def _serve_inside(self, connection: socket.socket, inside: Inside) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=_MOST_REQUEST_BYTES)
        self._of_sidecar += 1
        try:
            await self._serve(inside, reader, writer)
        finally:
            self._of_sidecar -= 1

    async def close(self) -> None:
        """Stop listening and let running conversations say their last line."""
        for server in self._servers:
            server.close()
        if self._side_door is not None:
            with suppress(FileNotFoundError):  # a state directory that is kept is to be clean
                os.unlink(self._side_door.path)
        for task in self._attached:
            task.cancel()
        if clients := self._clients | self._children:
            _, late = await asyncio.wait(clients, timeout=0.5)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(
        self,
        door: SideDoor | Inside | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients = self._children if isinstance(door, SideDoor) else self._clients
        if isinstance(door, SideDoor) and len(clients - self._attached) >= _MOST_CLIENTS:
            writer.transport.abort()  # without a word: they might be enough to use up descriptors
            return
        clients.add(task)
        try:
            await self._converse(door, reader, writer)
            await _say_goodbye(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the client is gone or reads nothing; what it asked for goes on
        finally:
            clients.discard(task)
            writer.transport.abort()

    async def _converse(
        self,
        door: SideDoor | Inside | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            self._check(writer, door)
            request = _parse(await _line(reader))
            if request.get("do") == "attach":
                await self._attach(reader, writer)
                return
            if isinstance(door, SideDoor):
                raise ControlError("here a process can only attach")
            if isinstance(door, Inside) and request.get("do") == "tokens":
                await _send(writer, {"result": door.tokens()})
                return
            with self._counted(request):
                message = {"result": await self._answer(request, reader, writer)}
        except ControlError as error:
            message = {"error": str(error), "exit": 1}
        await _send(writer, message)

    async def _answer(
        self,
        request: Mapping[str, object],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> object:
        conversation = Conversation(self._runtime, lambda item: _send(writer, item))
        answer = asyncio.ensure_future(conversation.answer(request))
        gone = asyncio.ensure_future(_end_of(reader))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                # It may only have said that it asks nothing more, and still read.
                await asyncio.wait({answer}, timeout=_ANSWER_WAIT)
            if not answer.done():
                raise ConnectionResetError("the client left")
            return await answer
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand over what workers map, and stay: the connection stands for the process."""
        pid = peer_credentials(writer.get_extra_info("socket")._sock).pid
        attachment = self._attachments.attach(pid)
        is_confirmed = False
        try:
            _send_descriptors(writer, attachment.descriptors)
            await _send(writer, {"result": attachment.record})
            task = asyncio.current_task()
            assert task is not None
            self._attached.add(task)
            try:
                is_confirmed = bool(await reader.read(1))
                await _end_of(reader)
            finally:
                self._attached.discard(task)
        finally:
            self._attachments.connection_closed(attachment, is_confirmed=is_confirmed)

    @contextmanager
    def _counted(self, request: Mapping[str, object]) -> Iterator[None]:
        """Keep one of the places for followers. Raises `ControlError` when none is free."""
        if not follows(request):
            yield
            return
        if self._followers >= _MOST_FOLLOWERS:
            raise ControlError(f"{_MOST_FOLLOWERS} clients follow the events already")
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    def _check(self, writer: asyncio.StreamWriter, door: SideDoor | Inside | None) -> None:
        """Refuse who has no business here. Raises `ControlError`."""
        if isinstance(door, Inside):
            if self._of_sidecar > _MOST_OF_SIDECAR:
                raise ControlError(f"{_MOST_OF_SIDECAR} requests of the sidecar wait already")
            return
        try:
            peer = peer_credentials(writer.get_extra_info("socket")._sock)
        except (ProtocolError, AttributeError) as error:
            raise ControlError("your identity cannot be read from the socket") from error
        if door is not None:
            if peer.uid != door.uid or peer.pid is None or not door.admits(peer.pid):
                raise ControlError("only processes that a worker has started may attach here")
            return
        if peer.uid not in (0, os.geteuid()):
            raise ControlError("the cluster belongs to another user")
        if len(self._clients - self._attached) > _MOST_CLIENTS:
            raise ControlError(f"{_MOST_CLIENTS} clients are connected already")


def _send_descriptors(writer: asyncio.StreamWriter, descriptors: Sequence[int]) -> None:
    """Send descriptors, each message of them with an empty line. Nothing may wait to be sent."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as connection:
        for start in range(0, len(descriptors), MOST_PER_MESSAGE):
            try:
                socket.send_fds(connection, [b"\n"], descriptors[start : start + MOST_PER_MESSAGE])
            except OSError as error:
                raise ControlError(f"descriptors cannot be sent: {error.strerror}") from error


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(_REQUEST_WAIT):
            return await reader.readuntil(b"\n")
    except TimeoutError as error:
        raise ControlError(f"no request came within {_REQUEST_WAIT:g} s") from error
    except asyncio.IncompleteReadError as error:
        raise ControlError("the request has no end: it is one line") from error
    except asyncio.LimitOverrunError as error:
        raise ControlError(f"a request has at most {_MOST_REQUEST_BYTES} bytes") from error


async def _say_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close when the client has read the answer.

    Closing with bytes of its unread would reset the connection, and take the answer with it.
    """
    writer.write_eof()
    with suppress(TimeoutError):  # a client that does not hang up is hung up on
        async with asyncio.timeout(_GOODBYE_WAIT):
            await _end_of(reader)
    writer.close()
    async with asyncio.timeout(_READ_WAIT):
        await writer.wait_closed()


async def _end_of(reader: asyncio.StreamReader) -> None:
    """Return when the client has gone. What it says after its request is not listened to."""
    while await reader.read(_MOST_REQUEST_BYTES):
        pass


def _parse(line: bytes) -> Mapping[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("the request is not JSON") from error
    if not isinstance(request, dict):
        raise ControlError("the request is not a JSON object")
    if request.get("version") != rundir.PROTOCOL:
        raise ControlError(
            f"this cluster speaks control version {rundir.PROTOCOL}; "
            "use the `tercio` it was started with"
        )
    return request


async def _send(writer: asyncio.StreamWriter, message: Mapping[str, object]) -> None:
    """Send a line, and wait while the client has too much to read already."""
    writer.write(json.dumps(message).encode() + b"\n")
    async with asyncio.timeout(_READ_WAIT):
        await writer.drain()
