"""Measure what a request costs in several servers, in interleaved rounds, and print tables.

One processor serves and another one asks, if there are two: on a machine that does other work
beside it, CPU time a request and its ratio to uvicorn in the same round say more than requests/s.
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

from benchmarks.http import load, memory, nginx, table, wrk
from benchmarks.http.ask import Wrong, allow_descriptors, held, lost
from benchmarks.http.scenarios import SCENARIOS, Scenario
from benchmarks.http.servers import COMMANDS, Running, running
from benchmarks.http.table import Cell
from benchmarks.http.work import Outcome, Work

PACKAGES = (
    "tercio", "uvicorn", "gunicorn", "gunicorn_h1c", "uvicorn-worker", "hypercorn", "granian",
    "a2wsgi", "uvloop", "httptools", "websockets", "fastapi",
)  # fmt: skip
MEMORY = "memory"
WARM_UP = 1.0  # seconds that do not count


def measure(
    scenario: Scenario, servers: list[str], rounds: int, seconds: float
) -> dict[str, list[Cell]]:
    """All servers run at once, and idle while it is another one's turn."""
    cells: dict[str, list[Cell]] = {}
    path = scenario.work.path.replace("NUMBER", "1")
    path = path if scenario.work.kind == "get" else "/"
    with contextlib.ExitStack() as stack:
        started: dict[str, tuple[Running, int]] = {}
        for name in scenario.variants(servers):
            server = stack.enter_context(
                running(
                    name,
                    scenario.app,
                    workers=scenario.workers,
                    cpu=0 if scenario.pinned else None,
                    tls=scenario.tls,
                    path=path,
                )
            )
            port = server.port
            if scenario.nginx:
                port = stack.enter_context(nginx.before(port, _client_cpu(scenario)))
            started[name] = server, port
        for server, port in started.values():
            measure_once(scenario, server, port, WARM_UP)
        for number in range(rounds):
            for name, (server, port) in started.items():
                cell = measure_once(scenario, server, port, seconds * scenario.stretch)
                cells.setdefault(name, []).append(cell)
                print(f"  round {number + 1}: {name}: {cell.cost:.1f} µs", file=sys.stderr)
    return cells


def measure_once(scenario: Scenario, server: Running, port: int, seconds: float) -> Cell:
    ask = client_for(scenario.work)
    try:
        with held(port, scenario.idle) as idle:
            before = server.cpu()
            outcome = ask(scenario.work, port, seconds, cpu=_client_cpu(scenario), tls=scenario.tls)
            spent = server.cpu() - before
            if gone := lost(idle):
                outcome = Outcome(1, 1, 0, 0, gone, "idle connections were closed")
    except (OSError, Wrong, subprocess.SubprocessError) as error:
        return Cell(Outcome(1, 1, 0, 0, 1, repr(error)), server.cpu())
    return Cell(outcome, spent)


def client_for(work: Work) -> Callable[..., Outcome]:
    return wrk.run if work.fits_wrk and shutil.which("wrk") else load.run


def _client_cpu(scenario: Scenario) -> int | None:
    return 1 if scenario.pinned else None


def measure_memory(servers: list[str], rounds: int) -> dict[str, list[memory.Memory]]:
    seen: dict[str, list[memory.Memory]] = {}
    for _ in range(rounds):
        for name in servers:
            seen.setdefault(name, []).append(memory.measure(name))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", default=",".join([*SCENARIOS, MEMORY]))
    parser.add_argument("--servers", default="uvicorn,tercio,granian", help="'all' for all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each server in each round")
    options = parser.parse_args()
    servers = list(COMMANDS) if options.servers == "all" else options.servers.split(",")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("this needs two processors: one serves, the other one asks")
    allow_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end, too
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"CPython {platform.python_version()}, {versions};")
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.release()};")
    print(f"{options.rounds} rounds of {options.seconds:g} s, medians (least-most).")
    if not shutil.which("wrk"):
        print("Without wrk (apt install wrk) the clients are Python: slower, and smaller batches.")
    measured: dict[str, dict[str, list[Cell]]] = {}
    for name in options.scenarios.split(","):
        if name == MEMORY:
            print(f"\n### memory of {memory.CONNECTIONS:,} idle connections\n")
            print(table.of_memory(measure_memory(servers, options.rounds)), flush=True)
            continue
        scenario = SCENARIOS[name]
        if scenario.nginx and nginx.program() is None:
            print(f"\nSkipped {name}: install nginx (apt install nginx-light).")
            continue
        if scenario.tls and shutil.which("openssl") is None:
            print(f"\nSkipped {name}: install openssl.")
            continue
        client = "wrk" if client_for(scenario.work) is wrk.run else "the client in load.py"
        print(f"\n### {scenario.title} ({scenario.work.connections} connections, {client})\n")
        cells = measure(scenario, servers, options.rounds, options.seconds)
        print(table.of_cells(cells), flush=True)
        if not scenario.compares_variants:
            measured[scenario.title] = cells
    if len(measured) > 1:
        print(f"\n### all of it\n\n{table.summary(measured)}")


if __name__ == "__main__":
    main()
