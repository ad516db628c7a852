import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tercio.offload.pool import Pool

MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Pools whose children are all gone at the end."""
    pools: list[Pool] = []
    before = set(children())  # of other tests, such as multiprocessing's resource tracker

    def make(*args: object, **options: object) -> Pool:
        pools.append(Pool(*args, **options))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
    assert not set(children()) - before


def children() -> list[int]:
    """The children of this process, in whichever thread they were started."""
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


class Door:
    """Where `work.tell_and_hold` knocks: who came, and when each may go."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(64)
        self._held: list[socket.socket] = []

    async def meet(self) -> tuple[int, str]:
        """The next to come: its pid and what it says."""
        return await asyncio.to_thread(self.wait)

    def wait(self) -> tuple[int, str]:
        self._listener.settimeout(60)
        peer, _ = self._listener.accept()
        self._held.append(peer)
        pid, _, text = peer.makefile().readline().strip().partition(" ")
        return int(pid), text

    def is_quiet(self) -> bool:
        """Whether nobody knocks now."""
        return not select.select([self._listener], [], [], 0)[0]

    def let_go(self) -> None:
        for peer in self._held:
            peer.close()
        self._held.clear()

    def close(self) -> None:
        self.let_go()
        self._listener.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path / "door")
    yield made
    made.close()
