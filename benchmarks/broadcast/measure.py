"""What does a message to many WebSockets cost? `cluster.rooms` beside what is done elsewhere.

200 clients at 4 workers; each message goes to all of them. First 50 messages a second, of which
the time to each client is measured; then as many as everybody takes, of which the CPU time of all
processes of the server, that of Redis included, is measured. All ways in each round, in turn.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from benchmarks.broadcast.clients import Crowd
from benchmarks.dataplane.servers import RespServer, version
from benchmarks.dataplane.table import header, ratio, row, spread
from tests.ports import free_port

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
WARM_UP = 1.0  # seconds
TICK = os.sysconf("SC_CLK_TCK")

_TERCIO = (
    "tercio run rooms_app:app --port {port} -w {workers} --no-access-log --runtime-dir {dir}/r"
)
_UVICORN = "--port {port} --workers {workers} --no-access-log --log-level warning"
WAYS = {
    "tercio": _TERCIO,
    "tercio, over Redis": _TERCIO + " --redis redis://127.0.0.1:{redis}",
    "tercio, uvicorn's server": _TERCIO + " --server uvicorn",
    "FastAPI and redis-py, uvicorn": f"uvicorn redis_app:app {_UVICORN}",
    "broadcaster, uvicorn": f"uvicorn broadcaster_app:app {_UVICORN}",
    "Node, ws and redis": "node server.js {workers} {port} {redis}",
}


@dataclass(frozen=True)
class Round:
    """One way, once."""

    error: str = ""
    waits: tuple[float, ...] = ()
    """p50 and p99 at 50 messages a second, in ms."""
    rate: float = 0.0
    """Deliveries a second."""
    efficiency: float = 0.0
    """Deliveries a second of the CPU."""


def cpu_of(root: int) -> float:
    """CPU seconds of a process and all that came from it."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            children.setdefault(int(fields[1]), []).append(int(name))
            spent[int(name)] = (int(fields[11]) + int(fields[12])) / TICK
    total, left = 0.0, [root]
    while left:
        pid = left.pop()
        total += spent.get(pid, 0.0)
        left += children.get(pid, [])
    return total


@contextmanager
def serving(way: str, workers: int, redis: RespServer) -> Iterator[tuple[int, int]]:
    """The pid and the port of a server whose workers are up."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        line = WAYS[way].format(port=port, workers=workers, dir=directory, redis=redis.port)
        command = line.split()
        if (BIN / command[0]).exists():
            command[0] = str(BIN / command[0])
        environ = os.environ | {
            "BENCH_REDIS": str(redis.port),
            "TERCIO_ALLOW_ROOT": "1",
            "NODE_PATH": str(BIN.parent / "node/node_modules"),
        }
        process = subprocess.Popen(
            command, cwd=HERE, env=environ, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_LOG") else None,
        )  # fmt: skip
        try:
            time.sleep(4.0)  # until all workers are there, whichever server it is
            yield process.pid, port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


async def play(pid: int, port: int, redis: int, args: argparse.Namespace) -> Round:
    """Both phases."""
    crowd = Crowd()
    try:
        await crowd.connect(port, args.clients)
        await asyncio.sleep(1.0)  # some ways subscribe a moment after they have accepted
        await crowd.speak_slowly(args.rate, WARM_UP)
        if not await crowd.until_all_got(crowd.sent, 30):
            return Round(f"not everybody got each message once ({crowd.sent})")
        crowd.waits = array("q")
        await crowd.speak_slowly(args.rate, args.seconds)
        if not await crowd.until_all_got(crowd.sent, 30):
            return Round("not everybody got each message once")
        waits = sorted(crowd.waits)
        crowd.waits = None
        await crowd.speak_fast(WARM_UP, args.window)
        before, begun, sent = cpu_of(pid) + cpu_of(redis), time.perf_counter(), crowd.sent
        await crowd.speak_fast(args.seconds, args.window)
        if not await crowd.until_all_got(crowd.sent, 30):
            return Round("under load not everybody got each message once")
        took = time.perf_counter() - begun
        spent = cpu_of(pid) + cpu_of(redis) - before
        deliveries = (crowd.sent - sent) * args.clients
        shares = tuple(waits[int(len(waits) * share)] / 1e6 for share in (0.5, 0.99))
        return Round("", shares, deliveries / took, deliveries / spent)
    except (OSError, AssertionError) as error:
        return Round(f"{type(error).__name__}: {error}"[:80])
    finally:
        crowd.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second, first phase")
    parser.add_argument("--window", type=int, default=128, help="messages under way, second phase")
    parser.add_argument("--ways", default=",".join(WAYS))
    args = parser.parse_args()
    ways = [name for name in WAYS if any(each.strip() == name for each in _split(args.ways))]
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        redis = RespServer(Path(directory))
        try:
            for number in range(args.rounds):
                for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                    with serving(way, args.workers, redis) as (pid, port):
                        done = uvloop.run(play(pid, port, redis.pid, args))
                    rounds[way].append(done)
                    print(f"round {number + 1}: {way}: {done}", file=sys.stderr, flush=True)
        finally:
            redis.close()
    show(rounds, args)


def _split(ways: str) -> list[str]:
    """Names, of which some have commas."""
    found, rest = [], ways
    while rest:
        name = next((each for each in WAYS if rest.startswith(each)), None)
        if name is None:
            raise SystemExit(f"{rest!r}: expected some of {', '.join(map(repr, WAYS))}")
        # The longest that fits: "tercio" begins others.
        name = max((each for each in WAYS if rest.startswith(each)), key=len)
        found.append(name)
        rest = rest[len(name) :].lstrip(",")
    return found


def show(rounds: dict[str, list[Round]], args: argparse.Namespace) -> None:
    columns = [
        "",
        "deliveries a CPU second",
        "ours are",
        "deliveries a second",
        "p50, ms",
        "p99, ms",
    ]
    lines = header(columns)
    ours = rounds.get("tercio", [])
    for name, each in rounds.items():
        if errors := [one.error for one in each if one.error]:
            lines.append(row(name, "void", errors[0], "", "", ""))
            continue
        beside = "" if each is ours else ratio(each, ours, lambda one: one.efficiency)
        lines.append(
            row(
                name,
                spread([one.efficiency for one in each]),
                beside,
                f"{statistics.median(one.rate for one in each):,.0f}",
                *(spread([one.waits[which] for one in each]) for which in (0, 1)),
            )
        )
    print("\n".join(lines))
    print(
        f"\n{args.clients} clients, {args.workers} workers, {args.rounds} rounds of "
        f"{args.seconds:g} s, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}, {version()}"
    )


if __name__ == "__main__":
    main()
