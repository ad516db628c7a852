"""Weigh whole process trees: the sum of PSS, idle and after requests, all variants in turn."""

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent
PATIENCE = 60.0  # seconds
CONNECTIONS = 32


def tercio(port: int, workers: int, *more: str) -> list[str]:
    """One worker's requests are as many as another's: connections are spread by their number."""
    place = ["--port", str(port), "--runtime-dir", tempfile.mkdtemp(prefix="tercio-memory")]
    app = "benchmarks.memory.app:app"
    return [str(BIN / "tercio"), "run", app, "-w", str(workers), "--no-access-log", *place, *more]


def gunicorn(port: int, workers: int, *more: str) -> list[str]:
    """With its own ASGI worker."""
    app = "benchmarks.memory.app:app"
    where = ["-b", f"127.0.0.1:{port}", "-k", "asgi", "--no-control-socket"]
    return [str(BIN / "gunicorn"), app, "-w", str(workers), *where, *more]


VARIANTS = {
    "tercio": (tercio, ()),
    "tercio --preload": (tercio, ("--preload",)),
    "gunicorn": (gunicorn, ()),
    "gunicorn --preload": (gunicorn, ("--preload",)),
}


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def pss(pid: int) -> int:
    """Bytes, with a fair share of what is shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(pid)


def weigh(pid: int) -> tuple[float, int]:
    """The sum over the tree in MB, and how many processes it has."""
    pids = list(tree(pid))
    return sum(map(pss, pids)) / 1e6, len(pids)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def ask(port: int, requests: int) -> None:
    """So many requests over `CONNECTIONS` kept-alive connections."""

    async def one(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(count):
            writer.write(b"GET /items/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (number % 1000))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            fields = head.lower().split(b"content-length:")
            await reader.readexactly(int(fields[1].split(b"\r\n")[0]))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(one(requests // CONNECTIONS))


async def serves(port: int) -> None:
    """Return when it answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await ask(port, CONNECTIONS)
            return
        except (OSError, asyncio.IncompleteReadError, ExceptionGroup):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


def settle(pid: int, workers: int) -> None:
    """Return when all processes are there and have had nothing to do for a while."""
    deadline = time.monotonic() + PATIENCE
    before: list[int] = []
    while True:
        time.sleep(1.5)
        now = [cpu(each) for each in tree(pid)]
        if len(now) > workers and sum(now) - sum(before) < 3 and len(now) == len(before):
            return
        assert time.monotonic() < deadline, f"{len(now)} processes"
        before = now


def cpu(pid: int) -> int:
    """Ticks of 10 ms that a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def measure(name: str, workers: int, requests: int, rows: int) -> tuple[float, float, float]:
    """MB before any request, after a few of them, and after ``requests`` a worker."""
    make, more = VARIANTS[name]
    port = free_port()
    environ = {**os.environ, "TABLE_ROWS": str(rows)}
    command = make(port, workers, *more)
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as process:
        try:
            settle(process.pid, workers)
            fresh, _ = weigh(process.pid)
            asyncio.run(serves(port))
            time.sleep(1.0)
            idle, _ = weigh(process.pid)
            asyncio.run(ask(port, requests * workers))
            time.sleep(1.0)
            busy, _ = weigh(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
    if "--runtime-dir" in command:
        shutil.rmtree(command[command.index("--runtime-dir") + 1], ignore_errors=True)
    return fresh, idle, busy


def main() -> None:
    """Print the medians as a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--requests", type=int, default=2000, help="of each worker")
    parser.add_argument("--rows", type=int, default=300_000, help="of the table in memory")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in options.only}
    for _ in range(options.rounds):
        for name in options.only:
            result = measure(name, options.workers, options.requests, options.rows)
            found[name].append(result)
            print(name, result, file=sys.stderr, flush=True)
    print(
        f"| {options.workers} workers, {options.rows} rows | fresh | first requests | "
        f"{options.requests} requests each | spread |"
    )
    print("| --- | --- | --- | --- | --- |")
    medians: dict[str, list[float]] = {}
    for name, results in found.items():
        columns = list(zip(*results, strict=True))
        medians[name] = own = [statistics.median(column) for column in columns]
        base = medians.get(name.split()[0], own)
        cells = [f"{mb:.0f} MB ({mb / of:.2f})" for mb, of in zip(own, base, strict=True)]
        spread = max(max(column) - min(column) for column in columns)
        print(f"| `{name}` | {' | '.join(cells)} | {spread:.1f} MB |")


if __name__ == "__main__":
    main()
