"""One worker that serves the applications of `apps`, and what they told."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final, Self

from tests.worker.rig import LIMIT, Client, Rig, is_ready, until

SERVERS: Final = ("uvicorn", "tercio")
_APP: Final = {"app": "tests.http.parity.apps:app"}


class Place:
    """One worker, started with some options."""

    def __init__(self, rig: Rig, lines: int) -> None:
        self.rig = rig
        self._lines = lines  # where its standard output can be read
        self._unread = ""

    def connect(self) -> Client:
        return self.rig.connect()

    def get(self, path: str, *headers: str) -> bytes:
        """The body of an answer to a request on a connection of its own."""
        with self.connect() as client:
            client.ask(path, "Connection: close", *headers)
            status, body = client.answer()
            assert status == 200, body
            return body

    def told(self, *expected: object) -> None:
        """Wait until the applications have told this, in this order and no more."""
        told: list[object] = []

        def is_enough() -> bool:
            told.extend(json.loads(self.get("/told")))
            return len(told) >= len(expected)

        until(is_enough, f"they told {told}")
        assert told == list(expected)

    def open(self, gate: str) -> None:
        self.get(f"/open?{gate}")

    def lines(self, number: int) -> list[str]:
        """The next lines of what the worker writes, without the ports."""
        return [self._line() for _ in range(number)]

    def lines_until(self, words: str) -> list[str]:
        """All lines up to the next with these words in it."""
        lines = [self._line()]
        while words not in lines[-1]:
            lines.append(self._line())
        return lines

    def _line(self) -> str:
        while "\n" not in self._unread:
            assert is_ready(self._lines, LIMIT), f"no line after {self._unread!r}"
            self._unread += os.read(self._lines, 65536).decode()
        line, _, self._unread = self._unread.partition("\n")
        return re.sub(r":\d+ - ", ":0 - ", line)


class Places:
    """Workers by server and options, started when they are first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._places: dict[str, Place] = {}

    def of(self, server: str, *, unix: str = "", errors: bool = False, **options: object) -> Place:
        """With ``errors`` its standard error can be read as well."""
        key = json.dumps([server, unix, errors, options], sort_keys=True)
        if key not in self._places:
            self._places[key] = self._start({"server": server, **options}, unix, errors)
        return self._places[key]

    def _start(self, options: Mapping[str, object], unix: str, errors: bool) -> Place:
        reading, writing = os.pipe()
        self._stack.callback(os.close, reading)
        try:
            with ExitStack() as redirected:
                for fd in (1, 2) if errors else (1,):
                    redirected.enter_context(_instead(fd, writing))
                rig = Rig(options=options, record=_APP, unix=unix)
        finally:
            os.close(writing)
        self._stack.enter_context(rig)
        return Place(rig.serving(), reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self._stack.close()


@contextmanager
def _instead(fd: int, other: int) -> Iterator[None]:
    """Give a process that is started meanwhile another descriptor under this number."""
    kept = os.dup(fd)
    os.dup2(other, fd)
    try:
        yield
    finally:
        os.dup2(kept, fd)
        os.close(kept)
