"""Connections taken out of blocked loops lose nothing; without each protection they do.

The long version is `scripts/rescue-storm`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.handover.storm import mutants

ROOT = Path(__file__).parents[2]
LOOPS = ["asyncio", "uvloop"]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll"),
    pytest.mark.timeout(120),
]


def storm(*options: str) -> tuple[dict[str, Any], str]:
    """What came of a storm, and what its workers complained of."""
    command = [sys.executable, "-m", "tests.handover.storm", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done.stderr


def assert_harmless(found: dict[str, Any], complaints: str, requests: int) -> None:
    assert complaints == ""
    assert (found["lost"], found["wrong"]) == (0, 0), found
    assert found["answered"] >= requests
    assert found["called"] == found["answered"]
    assert found["ends"] == [0, 0, 0, 0]


@pytest.mark.parametrize("loop", LOOPS)
def test_every_request_of_a_storm_is_answered_once(loop: str) -> None:
    found, complaints = storm("--loop", loop, "--requests", "10000")
    assert_harmless(found, complaints, 10000)
    assert found["moved"] > 0


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_can_be_taken_at_any_point_of_a_loops_work(loop: str) -> None:
    found, complaints = storm("--loop", loop, "--requests", "5000", "--always", "--after", "0.009")
    assert_harmless(found, complaints, 5000)
    assert found["moved"] > 100


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin at once since Python 3.12")
def test_tasks_that_begin_at_once_are_no_trap() -> None:
    found, complaints = storm("--eager", "--requests", "5000", "--always", "--after", "0.009")
    assert_harmless(found, complaints, 5000)
    assert found["moved"] > 100


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mutant", mutants.NAMES)
def test_each_protection_is_needed(mutant: str, loop: str) -> None:
    options = ("--mutant", mutant, "--always", "--after", "0.009")
    # By chance: on a machine that is busy with other things one storm may pass without harm.
    assert any(_does_harm("--loop", loop, *options, "--requests", "60000") for _ in range(3))


def _does_harm(*options: str) -> bool:
    found, complaints = storm(*options)
    is_exact = found["called"] == found["asked"]
    return bool(found["lost"] + found["wrong"] > 0 or not is_exact or complaints)
