"""Killed at a chosen system call of a write, by strace. Only `scripts/chaos` plays these.

What every run plays instead is a kill at a chosen instruction: `tests/killpoints`.
"""

import shutil
from pathlib import Path

import pytest

from tests.cluster.chaos.tiers import PLAYED, SEED, trials
from tests.killpoints import driver

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.mark.chaos("C26")
@pytest.mark.parametrize("story", ["ring", "careful ring"])
def test_a_publisher_killed_at_a_system_call_tears_nothing(story: str, tmp_path: Path) -> None:
    play(story, tmp_path, len(trials(f"C26 {story}, at a call", 20, 500, 5000)))


@pytest.mark.chaos("C27")
@pytest.mark.parametrize("story", ["lmdb", "synced lmdb", "sqlite", "synced sqlite"])
def test_a_writer_killed_at_a_system_call_loses_and_holds_nothing(
    story: str, tmp_path: Path
) -> None:
    play(story, tmp_path, len(trials(f"C27 {story}, at a call", 20, 1000, 10_000)))


def play(story: str, directory: Path, count: int) -> None:
    report = driver.play(story, directory, count, SEED, module="tests.killpoints.calls")
    print(f"{story}: {report}")
    PLAYED[f"{story}, killed at the call"] += report["killed"]
    assert report["killed"] >= 0.8 * count
