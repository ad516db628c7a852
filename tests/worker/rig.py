"""Play the primary for one real worker process: boot record, channel, life-line, scoreboard."""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tercio.config import Config
from tercio.dataplane.scoreboard import LAYOUT, Field, Row
from tercio.dataplane.segment import anonymous_file
from tercio.dataplane.shared import Shared
from tercio.system import bpf
from tercio.system.process import ChildProcess, ExitStatus, spawn
from tercio.system.sockets import Slots, open_listeners, parse_bind
from tercio.version import __version__

ROOT = str(Path(__file__).parents[2])
APPS = "tests.worker."
# Not the default: to play all tests of workers with another server.
_SERVER = {"server": os.environ["RIG_SERVER"]} if "RIG_SERVER" in os.environ else {}
_SLOT = 3
LIMIT = 15.0  # seconds for anything that is waited for


def is_ready(
    file: "int | socket.socket | ChildProcess", limit: float, events: int = select.POLLIN
) -> bool:
    """Wait until it can be read. Not by select(): a run of all tests has many workers open."""
    poll = select.poll()
    poll.register(file, events)
    return bool(poll.poll(limit * 1000))


class Rig:
    """A worker, and what its primary holds. Leaving the context kills what is left.

    ``app`` is named below ``tests.worker``. With ``slots`` there are so many listeners, of which
    the fourth is the worker's; connections come to whichever a test says, at first to that.
    """

    def __init__(
        self,
        app: str = "apps:app",
        *,
        options: Mapping[str, object] | None = None,
        record: Mapping[str, object] | None = None,
        unix: str = "",
        slots: int = 0,
    ) -> None:
        self.messages: list[dict[str, Any]] = []
        self.slots = _slots(slots) if slots else ()
        self.listener = self.slots[_SLOT] if slots else _listener(unix)
        listening = [each.fileno() for each in self.slots or (self.listener,)]
        self.channel, theirs = socket.socketpair()
        lifeline_end, self.lifeline = os.pipe()
        self.shared = Shared.create(2)
        self.stack = anonymous_file("stack")
        boot = anonymous_file("boot")
        values = {
            "version": __version__,
            "layout": LAYOUT,
            "primary_pid": os.getpid(),
            "slot": _SLOT,
            "incarnation": 7,
            "seat": 1,
            "generation": 2,
            "name": "rig",
            "directory": "",
            "host": "00" * 8,
            "state": {},
            "app": APPS + app,
            "options": Config().to_json() | _SERVER | {"app_dir": ROOT} | dict(options or {}),
            "listeners": [
                {
                    "bind": "127.0.0.1:0",
                    "slots": listening if slots else [],
                    "shared": None if slots else listening[0],
                }
            ],
            "channel": theirs.fileno(),
            "lifeline": lifeline_end,
            "shared": self.shared.to_record(seat=1),
            "stack": self.stack,
            "oom_score_adj": None,
            "rlimits": {},
        }
        os.write(boot, json.dumps(values | dict(record or {})).encode())
        # For applications of the tests: one end to tell something, one that closes to let go.
        self.news, theirs_news = os.pipe()
        theirs_hold, self.hold = os.pipe()
        self.started = time.monotonic()
        self.process = spawn(
            [sys.executable, "-m", "tercio.worker", str(boot)],
            env=os.environ | {"RIG_NEWS": str(theirs_news), "RIG_HOLD": str(theirs_hold)},
            cwd=ROOT,
            pass_fds=(
                boot,
                *listening,
                theirs.fileno(),
                lifeline_end,
                *self.shared.to_record(seat=1).values(),
                self.stack,
                theirs_news,
                theirs_hold,
            ),
        )
        for fd in (boot, lifeline_end, theirs_news, theirs_hold):
            os.close(fd)
        theirs.close()
        self._unread = b""

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()
        return host, port

    @property
    def row(self) -> Row:
        return self.shared.scoreboard.row(1)

    def serving(self) -> Self:
        """Wait until it is ready, and let it serve."""
        self.wait_for("ready")
        self.send(type="serve")
        return self

    def send(self, **message: object) -> None:
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def drain(self, timeout: float = 10.0, **terms: object) -> None:
        self.send(
            **{
                "type": "drain",
                "timeout": timeout,
                "reason": "reload",
                "close_code": 1012,
                "close_at_once": False,
            }
            | terms
        )

    def wait_for(self, kind: str, limit: float = LIMIT) -> dict[str, Any]:
        """The next message of a kind; those of other kinds stay in ``messages``."""
        deadline = time.monotonic() + limit
        while True:
            for index, message in enumerate(self.messages):
                if message["type"] == kind:
                    return self.messages.pop(index)
            if not self._read(deadline):
                raise AssertionError(f"no {kind!r} message; there were {self.messages}")

    def exit(self, limit: float = LIMIT) -> ExitStatus:
        """Wait for the end of the process; what it said before is in ``messages``."""
        ready = is_ready(self.process, limit)
        assert ready, f"the worker still runs; it said {self.messages}"
        status = self.process.reap()
        assert status is not None
        while self._read(time.monotonic() + 1):
            pass
        return status

    def tells(self) -> str:
        """What the application wrote to RIG_NEWS."""
        ready = is_ready(self.news, LIMIT)
        assert ready, "the application told nothing"
        return os.read(self.news, 4096).decode()

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    def settle(self) -> None:
        """Wait until the worker has done what it was told before.

        The first answer says that its loop has heard the order, the second that it has acted.
        """
        for _ in range(2):
            self.send(type="dump", id=0)
            self.wait_for("dump")

    def lead_to(self, slot: int) -> None:
        """Give new connections to the listener of a slot."""
        weights = [int(number == slot) for number in range(len(self.slots))]
        bpf.attach(self.listener, bpf.weighted(weights))

    def connect(self) -> "Client":
        return Client(self.listener.getsockname())

    def connect_to(self, address: tuple[str, int]) -> None:
        """Connect and let go again."""
        Client(address).close()

    def get(self, path: str = "/") -> tuple[int, bytes]:
        """One request on a connection of its own."""
        with self.connect() as client:
            client.ask(path, "Connection: close")
            return client.answer()

    def count(self, field: Field, expected: int) -> None:
        """Wait until a word of the row has a value."""
        until(lambda: self.row[field] == expected, f"{field.name} is {self.row[field]}")

    def count_accepted(self, expected: int) -> None:
        """Wait until the worker has taken connections, whether or not they have spoken."""
        sockets = f"/proc/{self.process.pid}/fd"
        local = self.address[1]

        def taken() -> int:
            inodes = set()
            for fd in os.listdir(sockets):
                with suppress(OSError):  # closed since
                    inodes.add(os.readlink(f"{sockets}/{fd}"))
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            return sum(
                int(row[1].rpartition(":")[2], 16) == local
                and row[3] == "01"
                and f"socket:[{row[9]}]" in inodes
                for row in rows
            )

        until(lambda: taken() == expected)

    def close(self) -> None:
        self.channel.close()
        if self.process.reap() is None:
            self.process.kill_group(signal.SIGKILL)
            is_ready(self.process, LIMIT)
            self.process.reap()
        self.process.close()
        for listener in (self.listener, *self.slots):
            listener.close()
        for fd in (self.lifeline, self.stack, self.news, self.hold):
            os.close(fd)
        self.shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, deadline: float) -> bool:
        self.channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk = self.channel.recv(65536)
        except (TimeoutError, ConnectionError):
            return False
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        self.messages += [json.loads(line) for line in lines]
        return bool(chunk)


class Client:
    """An HTTP client that shows what happens on its connection."""

    def __init__(self, address: str | tuple[str, int], sock: socket.socket | None = None) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = sock or socket.socket(family)
        self.sock.settimeout(LIMIT)
        if sock is None:
            try:
                self.sock.connect(address)
            except OSError:
                self.sock.close()
                raise
        self._file = self.sock.makefile("rb")
        self.headers: dict[str, str] = {}

    def ask(self, path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: rig", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer, whatever announced it."""
        while (status := self.head()) < 200:
            pass
        if (length := self.headers.get("content-length")) is not None:
            return status, self._file.read(int(length))
        return status, b"".join(iter(self.chunk, b""))

    def head(self) -> int:
        line = self._file.readline()
        assert line, "the connection was closed without an answer"
        self.headers = {}
        while header := self._file.readline().strip():
            name, _, value = header.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        return int(line.split()[1])

    def chunk(self) -> bytes:
        """The next piece of a chunked body; empty at its end."""
        size = int(self._file.readline(), 16)
        data = self._file.read(size)
        self._file.readline()
        return data

    def rest(self) -> bytes:
        """All that comes until the end of the connection, without a reset."""
        return self._file.read()

    def is_closed(self) -> bool:
        """Wait for the end of the connection, without a reset."""
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(condition: Callable[[], bool], otherwise: str = "") -> None:
    """Wait for something that can only be looked at."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {otherwise}"
        select.select([], [], [], 0.002)  # there is no event for what shared memory holds


def _slots(number: int) -> tuple[socket.socket, ...]:
    program = bpf.weighted([int(slot == _SLOT) for slot in range(number)])
    (listener,) = open_listeners(
        [parse_bind("127.0.0.1:0")],
        backlog=128,
        uds_permissions=0o600,
        slots=Slots(number, program),
    )
    return listener.sockets


def _listener(unix: str) -> socket.socket:
    if unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(unix)
    else:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener
