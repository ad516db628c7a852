"""What does an increment cost beside prometheus_client's, and what do metrics cost a request?

    python -m benchmarks.dataplane.metrics [--rounds N] [--slices N]

Every number is CPU time. The ways follow each other in each round; a ratio is that of two numbers
of one round, and its spread the middle half of all rounds. With its error: by how much the median
would differ if the slices were drawn again, in 95 of 100 cases.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from benchmarks.uncounted import Uncounted

CONNECTIONS: Final = 32
INCREMENTS: Final = 100_000
OURS: Final = "cluster.metrics"
HOOKED: Final = "prometheus_client in a worker"
SINGLE: Final = "prometheus_client, one process"
SEVERAL: Final = "prometheus_client, files"
WAYS: Final = (OURS, HOOKED, SINGLE, SEVERAL)
WITHOUT: Final = "no counting at all"
COUNTED: Final = "the cluster's own metrics"
BOTH: Final = "and a counter of the application"
COSTS: Final = (WITHOUT, COUNTED, BOTH)
OPERATIONS: Final = ("inc()", "observe()", "labels().inc()")


def main() -> None:
    """Measure all and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--requests", type=int, default=1_600, help="of a slice")
    given = parser.parse_args()
    increments: list[dict[str, dict[str, float]]] = []
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
        increments.append({way: _increments(way) for way in WAYS})
    requests = _requests(given.slices, given.requests)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {given.rounds} rounds\n")
    for operation in OPERATIONS:
        print(f"{operation}, ns")
        rows = [{way: each[way][operation] for way in WAYS} for each in increments]
        _table(rows, WAYS, SEVERAL)
    print(f"one request of an empty application, ns of the worker, {given.slices} slices")
    _table(requests, COSTS, WITHOUT)


def _table(rows: Sequence[dict[str, float]], names: Sequence[str], base: str) -> None:
    for name in names:
        median = statistics.median(row[name] for row in rows)
        ratios = sorted(row[name] / row[base] for row in rows)
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        spread = f"{middle:.3f} ({low:.3f} to {high:.3f}), +-{_error(ratios):.3f}"
        print(f"  {name:34} {median:9.0f}   x {spread}")
    print()


def _error(ratios: Sequence[float]) -> float:
    draws = (random.choices(ratios, k=len(ratios)) for _ in range(1000))
    medians = sorted(statistics.median(draw) for draw in draws)
    return (medians[974] - medians[25]) / 2


# Increments


def _increments(way: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        environ = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
        if way == SEVERAL:
            environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        found = _child("increments", way, environ)
    return {name: float(value) for name, value in found.items()}


def increments(way: str) -> dict[str, float]:
    """In a process of its own: nanoseconds of each operation."""
    from tercio.dataplane.shared import Shared
    from tercio.metrics import Metrics, prometheus

    metrics = Metrics(Shared.create(1), 0)
    counter: Any
    if way == OURS:
        counter = metrics.counter("plain")
        seconds: Any = metrics.histogram("seconds")
        orders: Any = metrics.counter("orders", labels=["method", "status"])
    else:
        if way == HOOKED:
            prometheus.adopt(lambda: metrics)
        import prometheus_client

        counter = prometheus_client.Counter("plain", "")
        seconds = prometheus_client.Histogram("seconds", "")
        orders = prometheus_client.Counter("orders", "", ["method", "status"])
    return {
        "inc()": _ns(counter.inc),
        "observe()": _ns(lambda: seconds.observe(0.1)),
        "labels().inc()": _ns(lambda: orders.labels("GET", "200").inc()),
    }


def _ns(operation: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        began = time.process_time_ns()
        for _ in range(INCREMENTS):
            operation()
        times.append((time.process_time_ns() - began) / INCREMENTS)
    return statistics.median(times)


# Requests


@contextmanager
def _server() -> Iterator[tuple[int, dict[str, int]]]:
    """A process that serves each way on a port of its own."""
    with ExitStack() as stack:
        listeners = {
            cost: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS))
            for cost in COSTS
        }
        numbers = {cost: listener.fileno() for cost, listener in listeners.items()}
        code = f"from benchmarks.dataplane.metrics import serve; serve({numbers!r})"
        server = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=list(numbers.values()),
        )
        assert server.stdin is not None
        assert server.stdout is not None
        with server.stdin, server.stdout:
            server.stdout.readline()
            yield (
                server.pid,
                {cost: listener.getsockname()[1] for cost, listener in listeners.items()},
            )
        server.wait(10)


def _requests(slices: int, number: int) -> list[dict[str, float]]:
    """Nanoseconds of CPU time that a request costs each way, in slices that follow each other.

    In one process, for two that run the same program differ by some per cent in where their memory
    lies; and in short slices, so that what else the machine does meets each way.
    """
    found: list[dict[str, float]] = []
    with _server() as (pid, ports):
        for turn in range(slices + 1):
            spent = {}
            first = turn % len(COSTS)  # nobody is always behind the same one
            for cost in (*COSTS[first:], *COSTS[:first]):
                before = _cpu(pid)
                asyncio.run(_load(ports[cost], number))
                spent[cost] = (_cpu(pid) - before) / number
            if turn:  # the first one is to get warm
                found.append(spent)
    return found


def _cpu(pid: int) -> int:
    with open(f"/proc/{pid}/schedstat") as file:  # its main thread: all that serves
        return int(file.read().split()[0])


async def _load(port: int, number: int) -> None:
    async def ask(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\nhi")
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as clients:
        for _ in range(CONNECTIONS):
            clients.create_task(ask(number // CONNECTIONS))


def serve(numbers: dict[str, int]) -> None:
    """In a process of its own: serve each way at its listener until standard input ends."""
    import uvloop

    from tercio.config import Config
    from tercio.dataplane.shared import Shared
    from tercio.http.hooks import Hooks
    from tercio.metrics import Metrics
    from tercio.servers.tercio import TercioServer
    from tercio.worker.counts import Counts

    shared = Shared.create(len(numbers))
    visits = Metrics(shared, 0).counter("visits")
    start: Any = {
        "type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]
    }  # fmt: skip
    body: Any = {"type": "http.response.body", "body": b"hi"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        visits.inc()
        await send(start)
        await send(body)

    async def run() -> None:
        config = Config(app="none:none", lifespan="off", access_log=False)
        servers = []
        for seat, (cost, number) in enumerate(numbers.items()):
            row = shared.scoreboard.row(seat)
            hooks: Hooks = Uncounted() if cost == WITHOUT else Counts(row)
            server = TercioServer(config, lambda level, text: None)
            listener = socket.socket(fileno=number)
            await server.start(counting if cost == BOTH else app, [listener], hooks)
            await server.serve()
            servers.append(server)
        gc.freeze()  # as a worker does
        gc.set_threshold(2000, 10, 10)
        print(flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for server in servers:
            await server.stop()

    uvloop.run(run())


def _child(function: str, argument: str, environ: dict[str, str]) -> dict[str, Any]:
    code = (
        "import json; from benchmarks.dataplane import metrics; "
        f"print(json.dumps(metrics.{function}({argument!r})))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
