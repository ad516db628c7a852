"""Clients that ask again and again while something happens to the server, and what they saw."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from benchmarks.connections.client import Answer, Connection, Dropped, Mixed, Target

THINK = 0.05  # seconds at most between an answer and the next request
_PAUSE = 0.01  # after a failure: a server that is gone must not be asked in a busy loop


@dataclass(frozen=True)
class Seen:
    """One answer; times are of the monotonic clock, in seconds."""

    began: float
    ended: float
    pid: int
    release: str


@dataclass
class Tally:
    """What the clients of one kind saw."""

    answers: list[Seen] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)  # requests, by reason
    mixed: int = 0  # answers to another request
    ended_idle: int = 0  # connections that ended without notice while nothing was asked
    cut: int = 0  # connections that ended with a request in hand

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def worst(self) -> float:
        """Seconds."""
        return max((seen.ended - seen.began for seen in self.answers), default=0.0)


class Load:
    """``kept`` clients keep a connection, ``fresh`` open one a request, ``split`` post in two
    writes on a kept one.

    An announced end (``Connection: close``) is followed. The clients of `async with` end with it.
    """

    def __init__(
        self, target: Target, *, kept: int = 0, fresh: int = 0, split: int = 0, think: float = THINK
    ) -> None:
        self.kept, self.fresh, self.split = Tally(), Tally(), Tally()
        self._target = target
        self._think = think
        self._counts = {"kept": kept, "fresh": fresh, "split": split}
        self._ends = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        kinds: dict[str, tuple[Tally, Callable[[Connection], Awaitable[Answer]]]] = {
            "kept": (self.kept, Connection.get),
            "fresh": (self.fresh, lambda connection: connection.get(close=True)),
            "split": (self.split, Connection.post),
        }
        for kind, count in self._counts.items():
            for _ in range(count):
                self._tasks.append(asyncio.create_task(self._repeat(*kinds[kind])))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends = True
        await asyncio.gather(*self._tasks)

    async def until_only(self, release: str, patience: float) -> float:
        """Wait until all answers come from the release; return the seconds that took, or inf."""
        began = time.monotonic()
        while (now := time.monotonic()) - began < patience:
            await asyncio.sleep(0.05)
            recent = [
                seen.release == release
                for tally in (self.kept, self.fresh, self.split)
                for seen in tally.answers[-2000:]
                if seen.began > now - 0.5
            ]
            if len(recent) >= 50 and all(recent):
                return now - 0.5 - began
        return float("inf")

    async def _repeat(self, tally: Tally, ask: Callable[[Connection], Awaitable[Answer]]) -> None:
        connection: Connection | None = None
        while not self._ends:
            await asyncio.sleep(random.uniform(0, self._think))
            if connection is not None and connection.is_lost:
                tally.ended_idle += 1
                connection = None
            began = time.monotonic()
            try:
                if connection is None:
                    connection = await Connection.open(self._target)
                answer = await ask(connection)
            except Dropped as error:
                tally.failures[str(error)] += 1
                tally.cut += connection is not None
            except Mixed as error:
                tally.failures[str(error)] += 1
                tally.mixed += 1
            else:
                tally.answers.append(Seen(began, time.monotonic(), answer.pid, answer.release))
                if not answer.closes and tally is not self.fresh:
                    continue
            if connection is not None:
                connection.close()
                connection = None
            if tally.failures:
                await asyncio.sleep(_PAUSE)
        if connection is not None:
            connection.close()


class Lateness:
    """How late the client itself is: a timer every 5 ms, and by how much each one missed it."""

    def __init__(self) -> None:
        self.worst = 0.0  # seconds

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            self.worst = max(self.worst, time.monotonic() - due)
