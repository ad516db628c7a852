"""Commands that cannot be carried out: each fails alone, is answered, and leaves nothing open."""

import asyncio
import errno
import logging
import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import pytest

from tercio.core import commands, events, inputs
from tercio.core.model import WorkerId
from tercio.primary.executor import Executor, Unfinished
from tercio.primary.journal import Journal
from tercio.primary.launching import Launching
from tests.system.processes import PATIENCE, children

Kind = TypeVar("Kind", bound=events.Event)

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


_SHOWS_STACKS: Final = """
import faulthandler, json, os, signal, sys
from tercio.system.stacksignal import STACK_SIGNAL
record = json.load(open(int(sys.argv[1])))
faulthandler.register(STACK_SIGNAL, file=record["stack"])
os.write(record["channel"], b'{"type":"loaded"}\\n')
while True:
    signal.pause()
"""


def shows_stacks(command: commands.Spawn) -> Launching:
    """A worker that writes its stack when it is asked to."""
    return Launching([sys.executable, "-c", _SHOWS_STACKS], os.environ, "/", {}, [], None)


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
            launch,  # type: ignore[arg-type]
        )

    def run_until(self, is_true: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_true():
            assert time.monotonic() < deadline, (self.told, self.journal.entries)
            self.loop.call_later(0.05, self.loop.stop)  # at the latest: a test may ask for anything
            self.loop.run_forever()

    def published(self, kind: type[Kind]) -> list[Kind]:
        return [e.event for e in self.journal.entries if isinstance(e.event, kind)]

    def close(self) -> None:
        for worker in tuple(self.executor.workers):
            self.executor.carry_out(commands.Kill(worker, "the end"))
            self.executor.carry_out(commands.Kill(worker, "asked twice"))
        self.run_until(lambda: not self.executor.workers)
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


def test_each_stack_is_shown_once_and_from_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    def has_shown(count: int) -> bool:
        return len(world.published(events.WorkerStack)) == count

    with nothing_left(), closing(World(shows_stacks)) as world:
        world.executor.carry_out(SPAWN)
        world.run_until(lambda: inputs.Loaded(WHO) in world.told)
        for count in (1, 2, 3):
            world.executor.carry_out(commands.ShowStack(WHO))
            world.run_until(partial(has_shown, count))
    stacks = [event.stack for event in world.published(events.WorkerStack)]
    for stack in stacks:  # the line itself may be another one at first
        assert stack.startswith("Current thread 0x")
        assert stack.count("Current thread 0x") == stack.count("File ") == 1
    assert caplog.text.count("Current thread 0x") == 3
