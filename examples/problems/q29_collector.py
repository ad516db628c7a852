"""Q29, wrong: one process that counts what all workers tell it, a message a request."""

import multiprocessing
import os
import socket
from contextlib import suppress
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Self


def collect(path: str, total: "Synchronized[int]") -> None:
    """Count datagrams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(path)
        while True:
            inbox.recv(512)
            total.value += 1


class Collector:
    """The collecting process."""

    def __init__(self, path: str) -> None:
        self.path = path
        context = multiprocessing.get_context("spawn")
        self._total = context.Value("q", 0)
        self._process = context.Process(target=collect, args=(path, self._total), daemon=True)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def total(self) -> int:
        """Requests that it has heard of."""
        return int(self._total.value)

    def __enter__(self) -> Self:
        self._process.start()
        while not os.path.exists(self.path):
            self._process.join(0.01)
            assert self._process.is_alive(), "the collector could not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()
        with suppress(FileNotFoundError):
            os.unlink(self.path)
