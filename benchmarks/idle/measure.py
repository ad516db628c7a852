"""Measure idle servers: share of a core, wake-ups a second; and Tercio's boot beside the import.

CPU time is the kernel's own, in nanoseconds, of all processes of a server (/proc/PID/schedstat); a
wake-up is a voluntary context switch. The servers take turns, so that what else the machine does
falls on all of them.
"""

import argparse
import importlib.metadata
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.harness import Cluster
from tests.cluster.spent import Spent, family
from tests.ports import free_port

SETTLE = 4.0  # seconds after the last worker is up: imports, lazy starts and first beats are over

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"""

# The same app at rest, with what workers share in use: each part once, as an application would.
SHARING = """
import asyncio
import os
import app as plain
from tercio.cluster import bus, leader, metrics, state

TASKS = []


async def listen():
    async for _ in bus.subscribe("idle.*"):
        pass


async def lead():
    async with leader("idle"):
        await asyncio.Event().wait()


async def wait():
    async with asyncio.TaskGroup() as group:
        for number in range(1000):
            group.create_task(state.queue(f"idle.{os.getpid()}.{number}").get())


async def share():
    await state.incr("starts")
    await state.set("soon gone", 1, ttl=1.0)
    async with state.lock("start"):
        metrics.counter("starts").inc()
        metrics.histogram("seconds").observe(0.1)


def starting(*parts):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            TASKS.extend(asyncio.create_task(part()) for part in parts)
        await plain.app(scope, receive, send)
    return app


subscribed = starting(listen)
waiting = starting(wait)
sharing = starting(share)
everything = starting(share, listen, lead)
"""

_TERCIO = ("-w", "{workers}", "--port", "{port}")
SERVERS = {
    "Tercio": ("tercio", "run", "app:app", *_TERCIO),
    "Tercio, a subscription each": ("tercio", "run", "sharing:subscribed", *_TERCIO),
    "Tercio, 1,000 queues waited for in each": ("tercio", "run", "sharing:waiting", *_TERCIO),
    "Tercio, state, lock and metrics": ("tercio", "run", "sharing:sharing", *_TERCIO),
    "Tercio, all of these and a leader": ("tercio", "run", "sharing:everything", *_TERCIO),
    "uvicorn": ("uvicorn", "app:app", "--workers", "{workers}", "--port", "{port}"),
    "gunicorn, sync": ("gunicorn", "app:wsgi", "-w", "{workers}", "-b", "127.0.0.1:{port}"),
    "gunicorn, uvicorn-worker": (
        "gunicorn", "app:app", "-w", "{workers}", "-b", "127.0.0.1:{port}",
        "-k", "uvicorn_worker.UvicornWorker",
    ),
}  # fmt: skip


@dataclass
class Idle:
    """What a server cost in each round."""

    percent: list[float] = field(default_factory=list)
    wakeups: list[float] = field(default_factory=list)


@contextmanager
def running(name: str, workers: int, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from the moment when it answers."""
    port = free_port()
    program, *arguments = (part.format(workers=workers, port=port) for part in SERVERS[name])
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    if program == "tercio":
        command += ["--runtime-dir", str(directory / "run")]
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, "TERCIO_ALLOW_ROOT": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_answered(port)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_answered(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: idle\r\nConnection: close\r\n\r\n")
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server does not answer")


def measure_idle(name: str, workers: int, seconds: float, directory: Path) -> tuple[float, float]:
    """Percent of a core, and wake-ups a second."""
    with running(name, workers, directory) as process:
        time.sleep(SETTLE)
        pids = family(process.pid)
        # uvicorn's primary keeps a resource tracker beside its workers.
        assert len(pids) >= workers + 1, f"{name} has {len(pids)} processes"
        before, began = Spent.by(pids), time.monotonic()
        time.sleep(seconds)
        spent, took = Spent.by(pids) - before, time.monotonic() - began
    return spent.cpu_ns / took / 1e7, spent.wakeups / took


def measure_boot(directory: Path) -> tuple[float, float, float]:
    """Milliseconds: the app's import alone; a worker's start to ready; the command to ready."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import app"], cwd=directory, check=True)
    imported = time.monotonic() - began
    cluster = Cluster(directory, uuid.uuid4().hex)
    began_at = time.time()
    try:
        cluster.start("-w", "1")
        worker = cluster.first("WorkerReady")["seconds"]
        command = cluster.first("ClusterReady")["time"] - began_at
    finally:
        cluster.clean_up()
    return 1000 * imported, 1000 * worker, 1000 * command


def spread(values: Sequence[float], digits: int) -> str:
    """``median (least-most)``"""
    shown = (statistics.median(values), min(values), max(values))
    return "{:.{n}f} ({:.{n}f}-{:.{n}f})".format(*shown, n=digits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--boots", type=int, default=10)
    options = parser.parse_args()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tercio", "uvicorn", "gunicorn", "uvicorn-worker", "uvloop")
    )
    print(f"CPython {platform.python_version()}, {versions}, Linux {platform.release()}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "app.py").write_text(APP)
        (directory / "sharing.py").write_text(SHARING)
        idle = {server: Idle() for server in SERVERS}
        for _ in range(options.rounds):
            for server, seen in idle.items():
                percent, wakeups = measure_idle(server, options.workers, options.seconds, directory)
                seen.percent.append(percent)
                seen.wakeups.append(wakeups)
        print(f"\n{options.workers} idle workers, {options.seconds:g} s, {options.rounds} rounds\n")
        print("| server | % of one core | wake-ups a second |\n| --- | --- | --- |")
        for server, seen in idle.items():
            print(f"| {server} | {spread(seen.percent, 2)} | {spread(seen.wakeups, 0)} |")
        boots = [measure_boot(directory) for _ in range(options.boots)]
    imported, worker, command = zip(*boots, strict=True)
    print(f"\n{options.boots} boots, ms\n")
    print("| what | ms |\n| --- | --- |")
    print(f"| `python -c 'import app'` | {spread(imported, 0)} |")
    print(f"| a worker's start until it is ready | {spread(worker, 0)} |")
    print(f"| `tercio run` until it serves | {spread(command, 0)} |")


if __name__ == "__main__":
    main()
