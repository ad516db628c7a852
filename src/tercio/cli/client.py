"""Talk to a primary over its control socket: one request, events while it works, one result.

Synchronous, and nothing but the standard library: it is also what tests and scripts drive.
"""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tercio.errors import ControlError, NoCluster, ProtocolError
from tercio.system import rundir

CONNECT_TIMEOUT = 5.0  # seconds; only a stopped primary with a full backlog takes any
ANSWER_TIMEOUT = 30.0  # seconds, for requests that need not wait for workers
LARGEST_LINE = 16 << 20  # bytes; the status of 1024 workers with their tracebacks fits

Message: TypeAlias = dict[str, object]


class RequestFailed(ControlError):
    """The primary refused a request or could not carry it out."""

    def __init__(self, message: str, exit: int, reply: Message) -> None:
        super().__init__(message)
        self.exit = exit
        self.reply = reply


class Disconnected(ControlError):
    """The primary went away before it answered."""

    exit = 1


class Client:
    """One connection to a cluster's primary, for one request."""

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / rundir.CONTROL
        self._received = bytearray()
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_TIMEOUT)
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            reason = error.strerror or str(error)
            raise NoCluster(f"no cluster answers at {self.path}: {reason}") from error
        return connection

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(
        self,
        what: str,
        arguments: Mapping[str, object] | None = None,
        *,
        on_event: Callable[[Message], None] | None = None,
        waits: bool = False,
    ) -> Message:
        """Send a request and return its result; ``on_event`` is called for each event before it.

        With ``waits`` there is no time limit: the primary's own limits end a reload or a stop, and
        its death ends this call.
        """
        self._socket.settimeout(None if waits else ANSWER_TIMEOUT)
        with self._lost_as_ours():
            self._socket.sendall(request_line(what, arguments or {}))
        while True:
            match meaning(self._receive(), self.path):
                case Told(event):
                    if on_event is not None:
                        on_event(event)
                case Done(result):
                    return result

    def _receive(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LARGEST_LINE:
                raise ProtocolError(f"the primary at {self.path} sent a line without an end")
            with self._lost_as_ours():
                chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise Disconnected(f"the primary at {self.path} went away before it answered")
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    @contextmanager
    def _lost_as_ours(self) -> Iterator[None]:
        """Translate what the socket raises, and only that: ``on_event`` may fail in its own way."""
        try:
            yield
        except TimeoutError as error:
            raise Disconnected(
                f"the primary at {self.path} did not answer within {ANSWER_TIMEOUT:g} s; "
                "it may be stopped (SIGSTOP)"
            ) from error
        except OSError as error:
            raise Disconnected(f"lost the primary at {self.path}: {error.strerror}") from error


def request_line(what: str, arguments: Mapping[str, object]) -> bytes:
    """A request as the control protocol carries it."""
    request = {"version": rundir.PROTOCOL, "do": what, **arguments}
    return json.dumps(request).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Told:
    """What the primary says while it works."""

    event: Message


@dataclass(frozen=True, slots=True)
class Done:
    """Its last word."""

    result: Message


def meaning(line: bytes, path: object) -> Told | Done:
    """What the primary at ``path`` says with a line. Raises `RequestFailed`, `ProtocolError`."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise _not_our_protocol(line.decode(errors="replace"), path) from error
    match message:
        case {"event": dict(event)}:
            return Told(event)
        case {"result": result}:
            return Done(result if isinstance(result, dict) else {"value": result})
        case {"error": error}:
            exit = 2 if message.get("exit") == 2 else 1
            raise RequestFailed(str(error), exit, message)
        case _:
            raise _not_our_protocol(message, path)


def _not_our_protocol(message: object, path: object) -> ProtocolError:
    return ProtocolError(f"the primary at {path} sent {str(message)[:200]!r}")


def number(message: Mapping[str, object], key: str) -> float | None:
    """A number in a message, or None: another version may leave it out."""
    value = message.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(message: Mapping[str, object], key: str) -> str:
    """A text in a message, or nothing."""
    value = message.get(key)
    return "" if value is None else str(value)


def records(message: Mapping[str, object], key: str) -> list[Message]:
    """A list of objects in a message; what is no object is left out."""
    values = message.get(key)
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def record(message: Mapping[str, object], key: str) -> Message | None:
    """An object in a message, or None."""
    value = message.get(key)
    return value if isinstance(value, dict) else None
