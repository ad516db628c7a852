"""Spin looks at every state of the hand-over's models, and finds the faults of its mutants.

The checker is Debian's package `spin`, which also needs a C compiler.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[2] / "models"
OURS = "handover.pml"
COMMIT = "commit_by_primary.pml"
TOOLS = {"spin": "spin", "cc": "gcc"}
"""Programs, and the Debian packages that have them."""


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Get what is missing where that is possible: as root on Debian."""
    if all(map(shutil.which, TOOLS)):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("no spin here, and only root on Debian can be given one")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Of several processes of a run one installs, and the others wait.
    with (Path(tempfile.gettempdir()) / "tercio-tests-tools").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(map(shutil.which, TOOLS)):
            return
        for command in (["update"], ["install", "-y", "--no-install-recommends", *TOOLS.values()]):
            subprocess.run(["apt-get", "-qq", *command], env=environ, check=True, timeout=300)


def explore(directory: Path, model: str, *defines: str) -> tuple[int, int, str]:
    """The number of errors and of states, and the first error."""
    run = {"cwd": directory, "check": True, "timeout": 120}
    flags = [f"-D{define}" for define in defines]
    subprocess.run(["spin", "-a", *flags, str(MODELS / model)], **run)  # type: ignore[call-overload]
    compiler = ["cc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"]
    subprocess.run(compiler, **run)  # type: ignore[call-overload]
    done = subprocess.run(
        ["./pan", "-m100000"], cwd=directory, capture_output=True, text=True, timeout=120
    )
    errors = re.search(r"errors: (\d+)", done.stdout)
    states = re.search(r"(\d+) states, stored", done.stdout)
    assert errors is not None, done.stdout + done.stderr
    assert states is not None
    assert "max search depth too small" not in done.stdout
    fault = re.search(r"pan:1: (.*) \(at depth", done.stdout)
    return int(errors[1]), int(states[1]), fault[1] if fault else ""


@pytest.mark.parametrize("killed", [(), ("KILL_SENDER",), ("KILL_RECEIVER",)])
def test_no_request_is_lost_and_none_read_twice_whoever_is_killed(
    tmp_path: Path, killed: tuple[str, ...]
) -> None:
    errors, states, fault = explore(tmp_path, OURS, *killed)
    assert errors == 0, fault
    assert states > 300


@pytest.mark.parametrize(
    ("defines", "fault"),
    [
        (("LATE_WORD", "KILL_RECEIVER"), "readers"),
        (("IMPATIENT",), ""),
        (("PROTOCOL=1", "KILL_RECEIVER"), "is_excused"),
        (("PROTOCOL=2",), "readers"),
        (("PROTOCOL=3",), "invalid end state"),
    ],
    ids=["late word", "impatient", "send and close", "time-out", "test before the stop"],
)
def test_what_other_protocols_do_wrong_is_found(
    tmp_path: Path, defines: tuple[str, ...], fault: str
) -> None:
    errors, _, found = explore(tmp_path, OURS, *defines)
    assert errors == 1
    assert fault in found


@pytest.mark.parametrize(
    ("defines", "fault"),
    [
        ((), ""),
        (("KILL_RECEIVER",), "is_excused"),
        (("WORD", "KILL_RECEIVER"), ""),
        (("BYSTANDER", "KILL_RECEIVER"), "is_excused"),
        (("WORD", "KILL_PRIMARY"), "is_excused"),
    ],
    ids=["nobody dies", "no word", "the primary serves", "it does not", "it dies"],
)
def test_a_commit_by_the_primary_would_have_it_serve_and_its_death_lose_connections(
    tmp_path: Path, defines: tuple[str, ...], fault: str
) -> None:
    errors, states, found = explore(tmp_path, COMMIT, *defines)
    assert errors == bool(fault)
    assert fault in found
    assert states > 100
