"""Ask the questions of `scenarios` of all servers, in interleaved rounds, and print the tables.

Each server is started anew for each question of each round, and asked alone.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import uvloop
from benchmarks.connections import table
from benchmarks.connections.client import Dropped, Mixed, Target
from benchmarks.connections.outcome import Outcome, Plan
from benchmarks.connections.scenarios import DIRECT, NGINX, SCENARIOS, SITES, TLS, Scenario
from benchmarks.connections.servers import COMMANDS, NICE, PACKAGES, USUAL, missing, running
from benchmarks.http import nginx
from benchmarks.http.ask import allow_descriptors

UPSTREAM = 32  # connections that nginx keeps


def measure(scenario: Scenario, name: str, site: str, workers: int, plan: Plan) -> Outcome:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(name, workers=workers, tls=site == TLS))
        target = server.target
        if site == NGINX:
            target = Target(stack.enter_context(nginx.before(target.port, None, kept=UPSTREAM)))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(scenario.measure(server, target, plan))


def measure_all(key: str, site: str, workers: int, options: argparse.Namespace, plan: Plan) -> str:
    """All rounds of one question at one site; returns the table."""
    scenario = SCENARIOS[key]
    not_run = {name: why for name in options.servers if (why := missing(name))}
    for name in set(options.servers) & set(scenario.leaves_out):
        not_run[name] = "all of this client's connections come from one address"
    rounds: dict[str, list[Outcome]] = {}
    for number in range(options.rounds):
        for name in options.servers:
            if name in not_run:
                continue
            try:
                outcome = measure(scenario, name, site, workers, plan)
            except (RuntimeError, OSError, ExceptionGroup, Dropped, Mixed) as error:
                # A server that fails once is asked no more; its rounds before stay in the table.
                not_run[name] = f"{error!r} in round {number + 1}"
                continue
            rounds.setdefault(name, []).append(outcome)
            record(options.out, key, site, workers, name, outcome)
            print(f"  {key}, {site}, round {number + 1}: {name}", file=sys.stderr)
    return table.of(rounds, not_run, scenario.compared, scenario.beside)


def record(
    out: Path | None, key: str, site: str, workers: int, name: str, outcome: Outcome
) -> None:
    """One line a measurement, for whoever wants other tables."""
    if out is None:
        return
    with out.open("a") as lines:
        # asdict() cannot copy a Counter (CPython 3.11).
        figures = {column: asdict(figure) for column, figure in outcome.figures.items()}
        raw = {"scenario": key, "site": site, "workers": workers, "server": name}
        lines.write(json.dumps({**raw, "figures": figures, "reasons": outcome.reasons}) + "\n")


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = parser.add_argument
    names("--quick", action="store_true", help="one round of shorter scenarios, asked directly")
    names("--scenarios", default=",".join(SCENARIOS), help="%(default)s")
    names("--servers", default=",".join(USUAL), help="'all' for " + ", ".join(COMMANDS))
    names("--sites", help=", ".join(SITES))
    names("--rounds", type=int)
    names("--workers", default="4", help="one or more numbers: 4,2")
    names("--reloads", type=int, default=2, help="of each server in each round")
    names("--out", type=Path, help="append each measurement to this file, as JSON")
    options = parser.parse_args(arguments)
    options.servers = list(COMMANDS) if options.servers == "all" else options.servers.split(",")
    options.sites = (options.sites or (DIRECT if options.quick else ",".join(SITES))).split(",")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.scenarios = [
        key
        for wanted in options.scenarios.split(",")
        for key in SCENARIOS
        if wanted in (key, key.partition("-")[0])
    ]
    return options


def main() -> None:
    options = options_of()
    plan = Plan(options.quick, 1 if options.quick else options.reloads)
    allow_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end, too
    client = f"servers and clients at nice {NICE}"
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE - 5)
        client = f"servers at nice {NICE}, clients at {NICE - 5}"
    print(f"CPython {platform.python_version()}, {_versions()};")
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.release()}; {client};")
    print(f"Rounds, interleaved: {options.rounds}; medians, and least-most in brackets.")
    for workers in map(int, options.workers.split(",")):
        for key in options.scenarios:
            for site in options.sites:
                print(f"\n### {SCENARIOS[key].title}, {SITES[site]}, {workers} workers\n")
                if site not in SCENARIOS[key].sites:
                    print("Not run: nothing differs here but the price of handshakes.")
                elif site == NGINX and nginx.program() is None:
                    print("Not run: nginx is not installed.")
                elif site == TLS and shutil.which("openssl") is None:
                    print("Not run: openssl is not installed.")
                else:
                    if note := SCENARIOS[key].notes.get(site):
                        print(f"{note}\n")
                    print(measure_all(key, site, workers, options, plan), flush=True)


def _versions() -> str:
    each = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    for program, version in (("node", "--version"), (nginx.program(), "-v")):
        if program and shutil.which(program):
            seen = subprocess.run([program, version], capture_output=True, text=True)
            number = (seen.stdout + seen.stderr).strip().rpartition("/")[2].lstrip("v")
            each.append(f"{Path(program).name} {number}")
    pm2 = Path(sys.prefix) / "node/node_modules/pm2/package.json"
    if pm2.exists():
        each.append(f"PM2 {json.loads(pm2.read_text())['version']}")
    return ", ".join(each)


if __name__ == "__main__":
    main()
