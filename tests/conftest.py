"""Tests that run beside each other, in several processes, and those that must be alone."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, most of all the first in a new clone.
settings.register_profile("tercio", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tercio")

os.environ["TERCIO_ALLOW_ROOT"] = "1"  # they run as whoever calls them, also as root

# A shell without job control lets what it starts in the background ignore these, and so would all
# that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)  # before the directory is made
def pytest_configure(config: pytest.Config) -> None:
    meaning = "alone: no other test runs beside it: it compares times, or looks at the machine"
    config.addinivalue_line("markers", meaning)
    if hasattr(config, "workerinput"):
        # In place of "popen-gw0": the path of a Unix socket must not be longer than 107 bytes.
        place = Path(config.option.basetemp)
        config.option.basetemp = str(place.with_name(place.name.removeprefix("popen-gw")))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the time limit: a turn may take long
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not hasattr(item.config, "workerinput"):
        return (yield)  # without xdist, every test is alone
    # Each process has its part of what the run has.
    shared = Path(item.config.option.basetemp).parent
    with _turn(shared, is_alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _turn(shared: Path, *, is_alone: bool) -> Iterator[None]:
    """Hold a share of the turn, or all of it. Who waits for all of it lets nobody pass."""
    shared.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    queue, turn = (os.open(shared / name, flags) for name in ("queue", "turn"))
    try:
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield
    finally:
        # Not left to `close`: what a test forked may still hold the file.
        fcntl.flock(turn, fcntl.LOCK_UN)
        os.close(turn)
        os.close(queue)
