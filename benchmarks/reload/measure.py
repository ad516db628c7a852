"""Count the requests that a reload fails, and what a broken release does; several servers.

The clients are those of tests/cluster: they never try again, and follow a connection that was
announced to close. Each round starts every server once, so that what else the machine does falls on
all of them. Half of the clients keep their connections, half open one a request.
"""

import argparse
import importlib.metadata
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.load import Load
from tests.cluster.releases import release

WORKERS = 2
SETTLE = 1.0  # seconds of load after the new release was seen to answer alone
LONGEST = 20.0  # seconds for a reload to show

_UVICORN_WORKER = "-k uvicorn_worker.UvicornWorker"
COMMANDS = {
    "tercio": "tercio run app:app --port {port} -w {workers} --runtime-dir {dir} --no-access-log",
    "uvicorn": "uvicorn app:app --port {port} --workers {workers} --no-access-log",
    "gunicorn": "gunicorn app:app " + _UVICORN_WORKER + " -b 127.0.0.1:{port} -w {workers}",
    "hypercorn": "hypercorn app:app -b 127.0.0.1:{port} -w {workers} -k uvloop",
    "granian": "granian app:app --interface asgi --port {port} --workers {workers} --loop uvloop",
}
PACKAGES = ("tercio", "uvicorn", "gunicorn", "uvicorn-worker", "hypercorn", "granian", "uvloop")


@dataclass
class Outcome:
    """One server's rounds."""

    failed: dict[str, list[int]] = field(default_factory=lambda: {"kept": [], "fresh": []})
    answered: dict[str, int] = field(default_factory=lambda: {"kept": 0, "fresh": 0})
    worst: dict[str, list[float]] = field(default_factory=lambda: {"kept": [], "fresh": []})
    seconds: list[float] = field(default_factory=list)  # until only the new release answered
    reasons: set[str] = field(default_factory=set)
    broken_failed: int = 0
    broken: str = ""


@contextmanager
def running(name: str) -> Iterator[tuple[int, int, Path]]:
    """A server with release "r0"; gives its port, its pid and the application's directory."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="reload-") as directory:
        (Path(directory) / "app.py").write_text(release("r0"))
        command = COMMANDS[name].format(port=port, workers=WORKERS, dir=directory)
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command.split()[0]), *command.split()[1:]],
            cwd=directory,
            env={**os.environ, "TERCIO_ALLOW_ROOT": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until_it_listens(port)
            yield port, process.pid, Path(directory)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            kill_session(process.pid)
            process.wait()


def kill_session(leader: int) -> None:
    """End what a server left behind: its workers may be in groups of their own."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(entry.parent.name), signal.SIGKILL)
        except OSError:
            pass  # it ended meanwhile


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + LONGEST
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            break
    time.sleep(1.0)  # some listen before all of their workers are up


def wait_for_release(load: Load, name: str) -> float:
    """Wait until only the new release answers; return the seconds that took."""
    began = time.monotonic()
    while set(load.wait_for(100)) != {name}:
        if time.monotonic() - began > LONGEST:
            return float("inf")
    return time.monotonic() - began


def reload_once(name: str, clients: int, outcome: Outcome) -> None:
    with (
        running(name) as (port, pid, directory),
        Load(port, kept=clients, fresh=clients, patience=10) as load,
    ):
        load.wait_for(200)
        (directory / "app.py").write_text(release("r1"))
        os.kill(pid, signal.SIGHUP)
        outcome.seconds.append(wait_for_release(load, "r1"))
        time.sleep(SETTLE)
    tally = load.tally
    for kind in ("kept", "fresh"):
        failures = [reason for reason in tally.failures if reason.startswith(kind)]
        outcome.failed[kind].append(len(failures))
        outcome.answered[kind] += tally.answers[kind]
        outcome.worst[kind].append(tally.worst.get(kind, 0.0))
        outcome.reasons.update(failures)


def break_once(name: str, outcome: Outcome) -> None:
    """A release with a syntax error, then a good one."""
    with (
        running(name) as (port, pid, directory),
        Load(port, kept=4, fresh=4, patience=5) as load,
    ):
        load.wait_for(50)
        (directory / "app.py").write_text("def app(:\n")
        os.kill(pid, signal.SIGHUP)
        time.sleep(9)  # the slowest waits 3.5 s for each worker before it gives up
        outcome.broken_failed = len(load.failures)
        try:
            load.wait_for(20)
        except AssertionError:
            outcome.broken = "outage"
            return
        (directory / "app.py").write_text(release("r2"))
        try:
            os.kill(pid, signal.SIGHUP)
            is_back = wait_for_release(load, "r2") < LONGEST
        except (AssertionError, ProcessLookupError):
            is_back = False
        outcome.broken = "old release serves, " + (
            "next reload works" if is_back else "next reload does not work"
        )


def report(outcomes: dict[str, Outcome], rounds: int, clients: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    setting = f"{WORKERS} workers, {clients} clients of each kind thinking 0 to 50 ms"
    columns = (
        "server",
        "failed, kept connections",
        "failed, connection a request",
        "failed of 10,000",
        "worst answer, ms",
        "until only the new release answers, s",
        "compared with Tercio",
    )
    lines = [
        f"CPython {platform.python_version()}, {versions}; {machine}.",
        f"{setting}; {rounds} rounds of one reload, interleaved: medians, and the range.",
        "",
        f"| {' | '.join(columns)} |",
        "| --- " * len(columns) + "|",
    ]
    base = statistics.median(outcomes["tercio"].seconds) if "tercio" in outcomes else None
    for name, outcome in outcomes.items():
        failed = sum(outcome.failed["kept"]) + sum(outcome.failed["fresh"])
        answered = sum(outcome.answered.values())
        worst = [1000 * max(pair) for pair in zip(*outcome.worst.values(), strict=True)]
        ratio = f"{statistics.median(outcome.seconds) / base:.2f} x" if base else ""
        lines.append(
            f"| {name} | {spread(outcome.failed['kept'])} of "
            f"{outcome.answered['kept'] // rounds} | {spread(outcome.failed['fresh'])} of "
            f"{outcome.answered['fresh'] // rounds} | {1e4 * failed / max(answered, 1):.1f} | "
            f"{spread(worst)} | {spread(outcome.seconds, '.1f')} | {ratio} |"
        )
    lines += ["", "A release with a syntax error, 4 clients of each kind:", ""]
    lines += ["| server | failed in 9 s | then |", "| --- | --- | --- |"]
    lines += [f"| {name} | {o.broken_failed} | {o.broken} |" for name, o in outcomes.items()]
    reasons = sorted(set.union(set(), *(o.reasons for o in outcomes.values())))
    lines += ["", f"Reasons seen: {'; '.join(reasons) or 'none'}."]
    return "\n".join(lines)


def spread(values: list[int] | list[float], form: str = ".0f") -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}}-{high:{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, default=32, help="of each kind")
    parser.add_argument("--servers", default=",".join(COMMANDS))
    options = parser.parse_args()
    outcomes = {name: Outcome() for name in options.servers.split(",")}
    for number in range(options.rounds):
        for name, outcome in outcomes.items():
            reload_once(name, options.clients, outcome)
            print(f"round {number + 1}: {name}", file=sys.stderr)
    for name, outcome in outcomes.items():
        break_once(name, outcome)
        print(f"broken release: {name}", file=sys.stderr)
    print(report(outcomes, options.rounds, options.clients))


if __name__ == "__main__":
    main()
