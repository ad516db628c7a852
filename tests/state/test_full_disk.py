"""A file system that others fill: an error while it lasts, and nothing after it."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.engines.embedded.state import EmbeddedState
from tercio.engines.embedded.steps import READS
from tercio.engines.embedded.table import Table
from tercio.errors import StateFull
from tercio.state.state import State
from tercio.state.verbs import Get
from tests.state.engines import Clock, open_with_clock

KINDS = ("lmdb", "sqlite")
MIB = 1 << 20


@contextlib.contextmanager
def small_tmpfs(directory: Path, size: str) -> Iterator[Path]:
    """A file system of its own, for tests that may mount one."""
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(directory)],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextlib.contextmanager
def opened(kind: str, directory: Path, size: int) -> Iterator[EmbeddedState]:
    engine = open_with_clock(kind, directory, Clock(), size)
    try:
        yield engine
    finally:
        engine.close_now()


def fill_up(file: Path, leave: int = 0) -> None:
    """Write until there is no room, or but ``leave`` bytes."""
    free = os.statvfs(file.parent)
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        for _ in range((free.f_bavail * free.f_frsize - leave) // 4096):
            filler.write(bytes(4096))


@pytest.mark.parametrize("kind", KINDS)
async def test_counts_are_exact_over_a_disk_that_fills_and_empties(
    kind: str, tmp_path: Path
) -> None:
    with small_tmpfs(tmp_path, "12m"), opened(kind, tmp_path, 4 * MIB) as engine:
        state = State(engine)
        acknowledged = refused = 0
        for turn in range(3):
            fill_up(tmp_path / "filler")
            for number in range(200):
                try:
                    # LMDB takes pages of its own again before it asks for others.
                    await state.set(f"{turn}:{number}", os.urandom(3000))
                    await state.incr("n")
                except StateFull:
                    refused += 1
                    break
                acknowledged += 1
            assert await state.get("n", 0) == acknowledged
            (tmp_path / "filler").unlink()
            await state.incr("n")
            acknowledged += 1
            assert await state.clear(f"{turn}:") >= 0
        assert refused == 3
        assert await state.get("n") == acknowledged


async def test_the_log_of_sqlite_is_shortened_before_the_disk_is_called_full(
    tmp_path: Path,
) -> None:
    with small_tmpfs(tmp_path, "12m"), opened("sqlite", tmp_path, 64 * MIB) as engine:
        state = State(engine)
        # By itself the log would grow to 4 MiB, and there is no room for that.
        fill_up(tmp_path / "filler", leave=2 * MIB)
        for number in range(3000):
            await state.set(f"{number % 20}", os.urandom(3000))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_read_in_a_thread_holds_up_no_other(kind: str, tmp_path: Path) -> None:
    engine = open_with_clock(kind, tmp_path, Clock())
    state = State(engine)
    await state.set("key", 1)
    begun, ended = threading.Event(), threading.Event()

    def read_slowly(table: Table, verb: Get, now: float) -> object:
        value = READS[Get](table, verb, now)
        begun.set()
        assert ended.wait(30.0)
        return value, READS[Get](table, verb, now)

    answers: list[object] = []
    thread = threading.Thread(
        target=lambda: answers.append(engine.store.look(read_slowly, Get(b"v::key"), 0.0))
    )
    thread.start()
    assert begun.wait(30.0)
    assert await state.get("key") == 1
    assert await state.set("key", 2)
    assert await state.get("key") == 2
    assert engine.fill().keys >= 1
    engine.store.sync()
    ended.set()
    thread.join()
    assert answers == [(b"\x01", b"\x01")], "it saw one moment"
    await engine.close()
