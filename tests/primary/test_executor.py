"""Commands that cannot be carried out: each fails alone, is answered, and leaves nothing open."""

import asyncio
import errno
import logging
import os
import selectors
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tercio.core import commands, events, inputs
from tercio.core.model import WorkerId
from tercio.primary.executor import Executor, Launching, Unfinished
from tercio.primary.journal import Journal
from tests.system.processes import children

WHO = WorkerId(0, 1)
SPAWN = commands.Spawn(WHO, seat=0, generation=1, revision=0)


class FullSelector(selectors.EpollSelector):
    """Refuses descriptors as the kernel does when a user has too many watches."""

    room = sys.maxsize

    def register(self, *arguments: object, **options: object) -> selectors.SelectorKey:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        return super().register(*arguments, **options)  # type: ignore[arg-type]


def sleeper(command: commands.Spawn) -> Launching:
    """A worker that says nothing."""
    return Launching(["/bin/sh", "-c", "sleep 300", "sh"], os.environ, "/", {}, [], None)


def broken(command: commands.Spawn) -> Launching:
    raise KeyError(command.revision)


class World:
    """An executor, and what it told."""

    def __init__(self, launch: object = sleeper) -> None:
        self.selector = FullSelector()
        self.loop = asyncio.SelectorEventLoop(self.selector)
        self.journal = Journal()
        self.told: list[inputs.Input] = []
        self.executor = Executor(
            self.loop,
            self.journal,
            self.told.append,
            launch,  # type: ignore[arg-type]
            lambda seat: Unfinished(),
        )

    def close(self) -> None:
        self.loop.close()


@contextmanager
def nothing_left() -> Iterator[None]:
    """No descriptor and no child more than before."""
    before = descriptors(), children()
    yield
    assert (descriptors(), children()) == before


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("room", [0, 1])
def test_a_worker_that_cannot_be_watched_is_refused_and_gone(room: int) -> None:
    with nothing_left(), closing(World()) as world:
        world.selector.room = room
        world.executor.carry_out(SPAWN)
        assert world.told == [inputs.SpawnRefused(WHO, "[Errno 28] No space left on device")]
        assert not world.executor.workers


def test_a_bug_in_what_a_worker_is_started_with_is_logged_and_refuses_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with nothing_left(), closing(World(broken)) as world:
        world.executor.carry_out(SPAWN)
        assert world.told == [inputs.SpawnRefused(WHO, "0")]
    assert "KeyError" in caplog.text


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    launching = Launching([str(tmp_path / "python")], {}, "/", {}, [], None)
    with nothing_left(), closing(World(lambda command: launching)) as world:
        world.executor.carry_out(SPAWN)
        (told,) = world.told
        assert isinstance(told, inputs.SpawnRefused)
        assert "No such file" in told.error


def test_a_command_that_fails_is_logged_and_leaves_the_next_ones_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(World()) as world:

        def listen(entry: object) -> None:
            raise ZeroDivisionError

        world.journal.subscribe(listen)
        with caplog.at_level(logging.ERROR):
            world.executor.carry_out(commands.Publish(events.WorkerNote(WHO, "hello")))
        world.executor.carry_out(commands.Exit(3))
        assert world.executor.exit_code.result() == 3
    assert "ZeroDivisionError" in caplog.text
