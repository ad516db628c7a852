"""Many idle clients in one thread: they ask when they are told to, and count what they got."""

import selectors
import socket
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tests.cluster.harness import PATIENCE

_ASK = b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n"
_AHEAD = 200  # clients that ask at once: a crowd is not a stampede


class Crowd:
    """``count`` connections that are kept, to a port of this host or a Unix path."""

    def __init__(self, place: int | str, count: int, host: str = "127.0.0.1") -> None:
        self._sockets: list[socket.socket] = []
        for _ in range(count):
            self._sockets.append(_connect(place, host))

    def ask(self) -> Counter[str]:
        """Ask once on each; the first words of the answers, or how a connection failed."""
        found: Counter[str] = Counter()
        deadline = time.monotonic() + 4 * PATIENCE
        for start in range(0, len(self._sockets), _AHEAD):
            with selectors.DefaultSelector() as waiting:
                for sock in self._sockets[start : start + _AHEAD]:
                    try:
                        sock.sendall(_ASK)
                    except ConnectionError as error:
                        found[type(error).__name__] += 1
                    else:
                        waiting.register(sock, selectors.EVENT_READ)
                while waiting.get_map():
                    assert time.monotonic() < deadline, f"{len(waiting.get_map())} hang; {found}"
                    for key, _ in waiting.select(1.0):
                        waiting.unregister(key.fileobj)
                        found[_answer(key.fileobj)] += 1  # type: ignore[arg-type]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for sock in self._sockets:
            sock.close()


def _connect(place: int | str, host: str) -> socket.socket:
    if isinstance(place, int):
        return socket.create_connection((host, place), PATIENCE)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(place)
    return sock


def _answer(sock: socket.socket) -> str:
    """Answers are short: one read has the whole."""
    try:
        answer = sock.recv(4096)
    except ConnectionError as error:
        return type(error).__name__
    if not answer:
        return "closed"
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" not in head.lower(), head
    return body.split()[0].decode()
