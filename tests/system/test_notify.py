"""What systemd is told, and what is taken from it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.system import notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(30)
        receiver.bind(str(tmp_path / "notify"))
        yield receiver


def environ_of(manager: socket.socket) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname()}


def test_nobody_asked() -> None:
    assert not notify.notify("READY=1", {})
    assert not notify.notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    assert not notify.notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})
    assert not notify.notify("READY=1", {"NOTIFY_SOCKET": "/" + "x" * 200})


def test_a_state_arrives_as_one_datagram(manager: socket.socket) -> None:
    environ = environ_of(manager)
    assert notify.notify("READY=1\nSTATUS=as it is", environ)
    assert notify.notify({"STATUS": "é", "X_NUMBER": 7}, environ)
    assert manager.recv(4096) == b"READY=1\nSTATUS=as it is"
    assert manager.recv(4096) == "STATUS=é\nX_NUMBER=7".encode()


def test_an_abstract_address_is_understood() -> None:
    name = f"tercio-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(30)
        receiver.bind(f"\0{name}")
        assert notify.notify("READY=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert receiver.recv(4096) == b"READY=1"


def test_foreign_text_adds_no_line_of_its_own(manager: socket.socket) -> None:
    assert notify.status("worker says:\nMAINPID=1\r\nREADY=1", environ_of(manager))
    assert manager.recv(4096) == b"STATUS=worker says: MAINPID=1 READY=1"


def test_the_stages_of_a_service(manager: socket.socket) -> None:
    environ = environ_of(manager)
    before = time.monotonic_ns() // 1000
    assert notify.ready(12, "serving", environ)
    assert notify.reloading(environ)
    assert notify.watchdog(environ)
    assert notify.stopping(environ)
    assert manager.recv(4096) == b"READY=1\nMAINPID=12\nSTATUS=serving"
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert manager.recv(4096) == b"WATCHDOG=1"
    assert manager.recv(4096) == b"STOPPING=1"


def test_a_manager_that_does_not_listen_holds_nobody(manager: socket.socket) -> None:
    environ = environ_of(manager)
    sent = 0
    while notify.notify("STATUS=" + "x" * 1000, environ):
        sent += 1
    assert sent > 0  # and then the queue was full, and we are here all the same


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3_000_000),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3_000_000),
    ],
)
def test_the_watchdog_is_read(environ: dict[str, str], expected: int | None) -> None:
    assert expected == notify.watchdog_usec(environ)


@pytest.mark.parametrize("pid", ["", "1", "x"])
def test_descriptors_for_somebody_else_are_left_and_their_variables_removed(pid: str) -> None:
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "OTHER": "kept"}
    assert notify.listen_fds(environ) == []
    assert environ == {"OTHER": "kept"}


@pytest.mark.parametrize("count", ["", "0", "-1", "many"])
def test_a_count_that_means_nothing_passes_nothing(count: str) -> None:
    assert notify.listen_fds({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}) == []


LISTEN_FDS = """
import os
from tercio.system.notify import listen_fds
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="99", LISTEN_FDNAMES="web")
# Put in place from far above: the first free numbers are 3 and 4 themselves.
source = os.dup2(os.open(os.devnull, os.O_RDONLY), 100)
os.closerange(3, 100)
os.dup2(source, 3)
os.dup2(source, 4)
passed = listen_fds()
assert [tuple(one) for one in passed] == [(3, "web"), (4, "")], passed
assert not any(os.get_inheritable(one.fd) for one in passed)
assert not any(name.startswith("LISTEN_") for name in os.environ)
"""


def test_the_descriptors_that_are_there_are_taken() -> None:
    subprocess.run([sys.executable, "-c", LISTEN_FDS], check=True, timeout=60)
