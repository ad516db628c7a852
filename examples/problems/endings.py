"""How Q22, Q25, Q27 and Q30 are tried: what `measure` prints and what the tests look at."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from examples.problems.clients import Clients

from tercio.testing import Running, workers

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, float]
_LOOK = 0.02  # seconds between two looks at a cluster


def program(name: str, *options: str) -> dict[str, Any]:
    """Run one of the wrong programs to its end; what it prints."""
    command = [sys.executable, "-m", f"examples.problems.{name}", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=100)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def port_of(cluster: Running) -> int:
    """The port that a cluster listens on."""
    return urlsplit(cluster.url).port or 0


def until(is_true: Callable[[], object], seconds: float = 60.0) -> float:
    """Wait until it is; how long that took."""
    began = time.monotonic()
    while not is_true():
        if time.monotonic() - began > seconds:
            raise TimeoutError("it never was")
        time.sleep(_LOOK)
    return time.monotonic() - began


# Q22


def broken_for(seconds: float) -> Figures:
    """A cluster of 8 whose application can no longer be imported, and whose workers have ended.

    How many starts there were, and how long after the mending all served again, with no person.
    """
    with tempfile.TemporaryDirectory() as directory:
        broken = Path(directory) / "broken"
        options = ("--backoff-base", "0.25", "--backoff-cap", "2s", "--probe-interval", "1s")
        with workers(
            "examples.problems.q22_right:app",
            8,
            *options,
            cwd=ROOT,
            env={"Q22_BROKEN": str(broken)},
        ) as cluster:
            before = _starts(cluster)
            broken.touch()
            for pid in cluster.pids():
                os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            until(lambda: _says(cluster, "a setting is missing"))
            time.sleep(seconds)
            starts, took = _starts(cluster) - before, time.monotonic() - began
            broken.unlink()
            mended = until(lambda: cluster.status()["ready"] == 8)
    return {"starts a second": starts / took, "mended after, s": mended}


def _says(cluster: Running, text: str) -> bool:
    """Whether the status of a slot has it in its last traceback."""
    return any(text in slot["last_traceback"] for slot in cluster.status()["slots"])


def _starts(cluster: Running) -> int:
    return sum(int(slot["starts"]) for slot in cluster.status()["slots"])


def six_of_eight() -> Figures:
    """End 6 of 8 healthy workers at once, under clients."""
    with workers("examples.problems.q22_right:app", 8, cwd=ROOT) as cluster:
        pids = cluster.pids()
        for pid in pids[:6]:
            os.kill(pid, signal.SIGKILL)
        back = until(lambda: len({*cluster.pids()} - {*pids[:6]}) == 8)
        kept = len({*cluster.pids()} & {*pids[6:]})
    return {"healthy workers stopped": 2 - kept, "all back after, s": back}


# Q25


@contextmanager
def parent_that_reloads(*options: str) -> Iterator[tuple[int, Callable[[], None]]]:
    """The wrong program; its port, and what reloads it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.problems.q25_naive", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout

    def reload() -> None:
        process.send_signal(signal.SIGUSR2)
        assert output.readline() == "reloaded\n"

    try:
        yield int(output.readline()), reload
    finally:
        process.terminate()
        process.wait()
        output.close()


def reloaded(port: int, reload: Callable[[], None], times: int = 3) -> Figures:
    """Reload under clients; what of their requests failed."""
    with Clients(port) as clients:
        clients.wait_for(200)
        for _ in range(times):
            reload()
            clients.wait_for(200)
    return {
        "failed requests": len(clients.failures),
        "answered": clients.answers,
        "processes that answered": len(clients.bodies),
    }


def reloaded_by_tercio(times: int = 3) -> Figures:
    """The same with `tercio reload`."""
    options = ("--soak", "0.2", "--trial", "0.2", "--no-access-log")
    with workers("examples.problems.q25_right:app", 4, *options, cwd=ROOT) as cluster:
        return reloaded(port_of(cluster), cluster.reload, times)


# Q27


def leaked(name: str, *options: str, mib: int = 160) -> Figures:
    """Leak memory of C code in all workers, a little at each request, under clients."""
    quick = ("--memory-interval", "0.2", "--sample-interval", "0.2", "--soak", "0.2")
    app = f"examples.problems.{name}:app"
    with workers(app, 4, *quick, "--no-access-log", *options, cwd=ROOT) as cluster:
        first = set(cluster.pids())
        least = ready = len(first)
        with Clients(port_of(cluster), "/memory", kept=4, fresh=2) as clients:
            for _ in range(4 * mib // 8):
                cluster.get("/leak?mib=8")
                ready = int(cluster.status()["ready"])
                least = min(least, ready)
            clients.wait_for(50)
        found = [json.loads(body) for body in clients.bodies]
        recycled = sum(slot["starts"] - 1 for slot in cluster.status()["slots"])
    return {
        "heap said at most, MiB": max(each["heap"] for each in found),
        "own memory at most, MiB": max(each["own"] for each in found),
        "workers replaced": recycled,
        "ready at least": least,
        "failed requests": len(clients.failures),
    }


# Q30


def second_start() -> dict[str, Any]:
    """Start a second cluster on the port of one that serves; what it says, and how long it took."""
    with workers("examples.problems.q30_right:app", 2, cwd=ROOT) as cluster:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tercio-") as directory:
            done = subprocess.run(
                [
                    sys.executable, "-m", "tercio", "run", "examples.problems.q30_right:app",
                    "--port", str(port_of(cluster)), "--runtime-dir", directory,
                ],
                cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        took = time.monotonic() - began
        answers = [cluster.get_json("/hit") for _ in range(50)]
        return {
            "code": done.returncode,
            "said": done.stdout + done.stderr,
            "seconds": took,
            "owner": cluster.process.pid,
            "workers": set(cluster.pids()),
            "answered by": {each["pid"] for each in answers},
            "primaries": {each["primary"] for each in answers},
        }


# The ways of each. How many requests there are is a matter of time.


def throttled() -> Figures:
    """The textbook's parent after 6 of 8 healthy workers were ended."""
    return {
        "healthy workers stopped": program("q22_naive", "--throttle")["healthy_workers_stopped"]
    }


def restarted() -> Figures:
    """Tercio, both ways."""
    return {**broken_for(10.0), **six_of_eight()}


def q22(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q22."""
    return {
        "a start for each end": lambda: {
            "starts a second": program("q22_naive", "--seconds", "3")["starts_a_second"]
        },
        "the textbook's throttle": throttled,
        "tercio run": restarted,
    }


def by_a_parent(*options: str) -> Figures:
    """A reload by one of the wrong parents."""
    with parent_that_reloads(*options) as (port, reload):
        return reloaded(port, reload)


def q25(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q25."""
    return {
        "end all, then start": lambda: by_a_parent(),
        "one by one": lambda: by_a_parent("--textbook"),
        "tercio reload": reloaded_by_tercio,
    }


def q27(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q27."""
    return {
        "looks at its heap": lambda: leaked("q27_naive", "--limit-max-memory", "0"),
        "--limit-max-memory": lambda: leaked("q27_right", "--limit-max-memory", "60MiB"),
    }


def q30(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q30."""

    def shared() -> Figures:
        found = program("q30_naive", "--share")
        return {"of 100 connections to a stranger": found["connections_of_a_stranger"]}

    def refused() -> Figures:
        found = second_start()
        return {
            "of 100 connections to a stranger": 0.0,
            "second start refused after, s": found["seconds"],
        }

    return {"SO_REUSEPORT": shared, "tercio run": refused}
