"""Join a running cluster from a process that is no worker of it.

The primary lends it a seat and hands over the descriptors of what workers share. The connection to
the primary stays open; its end means that the cluster is gone.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tercio.cluster.membership import Connection, Membership, Seat
from tercio.config import Config
from tercio.dataplane import scoreboard
from tercio.dataplane.shared import Shared
from tercio.errors import NoCluster, ProtocolError, VersionMismatch
from tercio.system import rundir
from tercio.system.peer import peer_credentials
from tercio.version import __version__

_WAIT: Final = 5.0  # seconds for the primary to answer
_MOST_BYTES: Final = 1 << 20
_MOST_DESCRIPTORS: Final = 253  # in a message


@dataclass(frozen=True, slots=True)
class Attached:
    """What the primary handed over. Descriptors are numbers in this process."""

    connection: socket.socket
    seat: int
    name: str
    directory: str
    shared: Mapping[str, Any]
    options: Mapping[str, object]
    record: Mapping[str, Any]
    descriptors: tuple[int, ...]

    def close(self) -> None:
        """Give it all up. The primary takes the seat back, as nothing was confirmed."""
        self.connection.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


def attach(target: str) -> Attached:
    """Attach to the cluster of that name, or in that directory.

    Raises `NoCluster`, `VersionMismatch`, or `ProtocolError`.
    """
    directory = _directory_of(target)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptors: list[int] = []
    try:
        connection.settimeout(_WAIT)
        connection.connect(os.path.join(directory, rundir.CONTROL))
        if peer_credentials(connection).uid not in (0, os.geteuid()):
            raise NoCluster(f"the cluster in {directory} belongs to another user")
        request = {"version": rundir.PROTOCOL, "do": "attach"}
        connection.sendall(json.dumps(request).encode() + b"\n")
        record = _parse(_receive(connection, descriptors))
        return _attached(connection, record, descriptors)
    except BaseException as error:
        connection.close()
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise NoCluster(f"no cluster can be attached to at {directory}: {reason}") from error
        raise


def join_attached(target: str) -> Membership:
    """Attach, and say what this process is then. Raises as `attach` does."""
    attached = attach(target)
    try:
        shared = Shared.attach(attached.shared)
    except (OSError, ValueError) as error:
        attached.close()
        raise NoCluster(f"the cluster's memory cannot be used here: {error}") from error
    connection = Connection(attached.connection)
    connection.confirm()
    seat = Seat(
        attached.seat,
        shared,
        attached.record["state"],
        bytes.fromhex(attached.record["host"]),
    )
    return Membership(
        "attached",
        name=attached.name,
        directory=attached.directory,
        config=Config.from_json(attached.options),
        seat=seat,
        connection=connection,
    )


def _attached(
    connection: socket.socket, record: dict[str, Any], descriptors: list[int]
) -> Attached:
    if (record.get("version"), record.get("layout")) != (__version__, scoreboard.LAYOUT):
        raise VersionMismatch(
            f"the cluster runs Tercio {record.get('version')}, and this is {__version__}"
        )
    try:
        numbers = dict(zip(record["numbers"], descriptors, strict=True))
        attached = Attached(
            connection,
            int(record["seat"]),
            str(record["name"]),
            str(record["directory"]),
            _translated(record["shared"], numbers),
            dict(record["options"]),
            record,
            tuple(descriptors),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"the primary's answer lacks something: {error!r}") from error
    connection.settimeout(None)
    return attached


def _translated(value: Any, numbers: Mapping[int, int]) -> Any:
    """The record with our numbers in place of the primary's: every whole number in it is one."""
    match value:
        case int():
            return numbers[value]
        case list():
            return [_translated(each, numbers) for each in value]
        case dict():
            return {name: _translated(each, numbers) for name, each in value.items()}
    raise ProtocolError(f"{value!r} is no descriptor")


def _directory_of(target: str) -> str:
    if os.path.isabs(target):
        return target
    places = rundir.places(os.environ.get("TERCIO_RUNTIME_DIR", ""), os.environ)
    for cluster in rundir.clusters(places):
        if cluster.name == target:
            return cluster.path
    raise NoCluster(f"no cluster called {target!r} is running; looked in {', '.join(places)}")


def _receive(connection: socket.socket, descriptors: list[int]) -> bytes:
    """The answer's line; the descriptors come before it, with empty lines."""
    received = bytearray()
    while True:
        data, new, flags, _ = socket.recv_fds(connection, 1 << 16, _MOST_DESCRIPTORS)
        descriptors += new
        for descriptor in new:
            os.set_inheritable(descriptor, False)
        if flags & socket.MSG_CTRUNC:
            raise NoCluster("this process may open too few files to attach: raise `ulimit -n`")
        if not data:
            raise NoCluster("the primary closed the connection")
        received += data
        line, newline, _ = bytes(received).lstrip(b"\n").partition(b"\n")
        if newline:
            return line
        if len(received) > _MOST_BYTES:
            raise ProtocolError("the primary sent a line without an end")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ProtocolError("the primary sent what is not JSON") from error
    match message:
        case {"result": dict(record)}:
            return record
        case {"error": str(text)}:
            raise NoCluster(f"the cluster lets nobody attach now: {text}")
    raise ProtocolError(f"the primary sent {str(message)[:200]!r}")
