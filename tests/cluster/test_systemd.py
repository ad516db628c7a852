"""The units that `tercio systemd` prints, run as systemd runs them."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, Cluster
from tests.ports import free_port

# What systemd does before it executes a service: one socket, as descriptor 3.
LAUNCHER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
    listener.close()
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.chdir(sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="tercio-") as name:
        yield Path(name)


def unit_of(cluster: Cluster, *options: str) -> dict[str, list[str]]:
    """The settings of the service that `tercio systemd` makes."""
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "systemd", "app:app", *options, "--systemd", "255"],
        cwd=cluster.directory, env=cluster.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    service = done.stdout.partition("# app.socket")[0]
    found: dict[str, list[str]] = {}
    for line in service.splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def words_of(command: str) -> list[str]:
    """A command line as systemd reads it."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]


def test_a_service_with_a_socket_starts_reloads_beats_and_ends(
    cluster: Cluster, short: Path
) -> None:
    cluster.write_app()
    port = free_port()
    header = "X-Note: 50% of $HOME"
    unit = unit_of(
        cluster, "--socket", "--port", str(port), "-w", "2", "--header", header,
        "--soak", "0.3", "--trial", "0.3", "--stop-timeout", "5s",
    )  # fmt: skip
    (command,) = unit["ExecStart"]
    for each in map(shlex.split, unit["Environment"]):
        cluster.environ |= dict(word.replace("%%", "%").split("=", 1) for word in each)
    cluster.environ["TERCIO_RUNTIME_DIR"] = str(short / "run")
    script = cluster.directory / "launcher.py"
    script.write_text(LAUNCHER)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short / "notify"))
        manager.settimeout(PATIENCE)
        cluster.environ |= {"NOTIFY_SOCKET": str(short / "notify"), "WATCHDOG_USEC": "600000"}

        def told(key: str) -> dict[str, str]:
            """The next notification with that key; beats come in between."""
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                lines = manager.recv(4096).decode().splitlines()
                found = dict(line.split("=", 1) for line in lines)
                if key in found:
                    return found
            raise AssertionError(f"{key} was not told")

        with (cluster.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(script), str(port), unit["WorkingDirectory"][0],
                 *words_of(command)],
                env=cluster.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            ready = told("READY")
            assert int(ready["MAINPID"]) == process.pid
            assert ready["STATUS"].startswith("all 2 workers serve")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
                assert answer.headers["X-Note"] == "50% of $HOME"
            assert told("WATCHDOG") == {"WATCHDOG": "1"}

            # Type=notify-reload: a signal, and the time proves that the answer is to this one.
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            os.kill(process.pid, signal.SIGHUP)
            assert int(told("RELOADING")["MONOTONIC_USEC"]) >= before
            assert "reload to generation 2 is done" in told("READY")["STATUS"]

            # KillMode=mixed: the primary alone gets it.
            assert unit["KillMode"] == ["mixed"]
            began = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            assert told("STOPPING") == {"STOPPING": "1"}
            assert process.wait(PATIENCE) == 0, (cluster.directory / "log").read_text()
            assert time.monotonic() - began < int(unit["TimeoutStopSec"][0])
        finally:
            process.kill()
            process.wait()
