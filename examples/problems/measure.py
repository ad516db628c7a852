"""The figures of docs/problems/: ``python -m examples.problems.measure q21`` (or another one).

From a clone, on Linux. The wrong ways and the right one take turns; each figure is the median of
``--rounds``.
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from examples.problems import endings, listeners, q24_naive, users
from examples.problems.load import ask_often, cpu_seconds, own_mib
from examples.problems.q29_collector import Collector
from examples.problems.waits import KEPT, beside

from tercio.testing import Running, workers

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 4
AS_ELSEWHERE = ("--balance", "reuseport", "--rescue", "off")
"""A queue for each worker, filled by chance, and nobody who looks whether it is emptied."""

WARM = 400
"""Requests before the measurement."""

Figures = dict[str, float]


def serve(name: str, *options: str, **env: str) -> AbstractContextManager[Running]:
    """A cluster with one of the programs, which leaves stopped workers alone."""
    app = f"examples.problems.{name}:app"
    return workers(app, WORKERS, "--stopped-kill", "0", *options, cwd=ROOT, env=env)


def spent(pids: Iterable[int], do: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of processes, and seconds, while something is done."""
    pids = list(pids)
    cpu, clock = cpu_seconds(pids), time.perf_counter()
    do()
    return cpu_seconds(pids) - cpu, time.perf_counter() - clock


# Q21


def counted(name: str, requests: int) -> Figures:
    """Ask for numbers; how many were given twice, and what one cost."""
    answers: list[str] = []
    with serve(name) as cluster:
        asyncio.run(ask_often(cluster.url, "/hit", WARM))
        work, seconds = spent(
            cluster.pids(),
            lambda: answers.extend(asyncio.run(ask_often(cluster.url, "/hit", requests))),
        )
    return {
        "given twice, %": 100 * (1 - len(set(answers)) / requests),
        "requests/s": requests / seconds,
        "CPU µs a request": work / requests * 1e6,
    }


def q21(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q21."""
    return {
        "variable of the module": lambda: counted("q21_naive", requests),
        "copies by messages": lambda: counted("q21_copies", requests),
        "cluster.state.incr": lambda: counted("q21_right", requests),
    }


# Q23


def waited(name: str, *options: str) -> Figures:
    """Ask for something quick while one handler is busy for 2 s; who had to wait."""
    with serve(name, "--no-access-log", *options) as cluster:
        waits = asyncio.run(beside(cluster.url, "/long?seconds=2", 2.0))
    return {
        f"of {KEPT} kept connections stalled > 250 ms": waits.stalled(0.25),
        "of 100 new ones > 100 ms": 100 * sum(wait > 0.1 for wait in waits.new) / len(waits.new),
        "longest wait, ms": 1000 * waits.worst,
    }


def q23(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q23. How many requests there are is a matter of time."""
    return {
        "blocks its loop, as elsewhere": lambda: waited("q23_naive", *AS_ELSEWHERE),
        "blocks its loop": lambda: waited("q23_naive"),
        "cluster.offload": lambda: waited("q23_right"),
    }


# Q24


def relayed(messages: int, size: int) -> Figures:
    """Messages through a parent, by a child to three others."""
    figures = q24_naive.run(messages, size, stop_one=False)
    stopped = q24_naive.run(messages // 10, size * 100, stop_one=True)
    return {
        "CPU µs a delivery": figures["cpu_us_per_delivery"],
        "CPU of the parent, %": 100 * figures["parent_cpu_share"],
        "MiB the parent grew, one receiver stopped": stopped["parent_grown_mib"],
    }


def flooded(messages: int, size: int) -> Figures:
    """Messages on the bus, by a worker to the three others."""
    with serve("q24_right", Q24_POLICY="block") as cluster:
        cluster.get("/flood?count=100")
        heard(cluster)
        pids = [cluster.process.pid, *cluster.pids()]
        primary = cpu_seconds(pids[:1])
        delivered: list[int] = []

        def flood() -> None:
            cluster.get(f"/flood?count={messages}&size={size}")
            delivered.extend(heard(cluster))

        work, _ = spent(pids, flood)
        primary = cpu_seconds(pids[:1]) - primary
    with serve("q24_right") as cluster:
        stopped = flood_with_one_stopped(cluster, messages // 10, size * 100)
    return {
        "CPU µs a delivery": work / sum(delivered) * 1e6,
        "CPU of the parent, %": 100 * primary / work,
        "MiB the parent grew, one receiver stopped": stopped.primary_grown,
        "MiB the publisher grew": stopped.publisher_grown,
    }


def heard(cluster: Running) -> list[int]:
    """How much each of the workers that do not publish has heard."""
    return [cluster.get_json("/heard")["heard"] for _ in range(WORKERS - 1)]


@dataclass(frozen=True)
class Stopped:
    """What happened while a worker was stopped. Memory is in MiB."""

    primary_grown: float
    publisher_grown: float
    others: list[dict[str, int]]
    """The reports of those that were not stopped."""
    stopped: dict[str, int]
    """The report of the one that was, after it went on."""


def flood_with_one_stopped(cluster: Running, messages: int, size: int) -> Stopped:
    """Publish while another worker is stopped by SIGSTOP. For the policy "drop-oldest"."""
    pids = cluster.pids()
    address = urlsplit(cluster.url)
    # One connection, so that one worker publishes and no request waits for the stopped one.
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)

    def ask(path: str) -> Any:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    with closing(connection):
        publisher = ask("/flood?count=0")
        for _ in pids[1:]:
            ask("/heard")
        slot = (publisher + 1) % len(pids)
        os.kill(pids[slot], signal.SIGSTOP)
        try:
            before = own_mib(cluster.process.pid), own_mib(pids[publisher])
            ask(f"/flood?count={messages}&size={size}&pause=0.01")
            others = [ask("/heard") for _ in pids[2:]]
            after = own_mib(cluster.process.pid), own_mib(pids[publisher])
        finally:
            os.kill(pids[slot], signal.SIGCONT)
        return Stopped(after[0] - before[0], after[1] - before[1], others, ask("/heard"))


def q24(messages: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q24."""
    return {
        "through the parent": lambda: relayed(messages, 100),
        "cluster.bus": lambda: flooded(messages, 100),
    }


# Q29


def asked(name: str, requests: int, collector: Collector | None = None) -> Figures:
    """Ask, and see what one request cost all processes together."""
    with tempfile.TemporaryDirectory() as directory:
        env = {"PROMETHEUS_MULTIPROC_DIR": directory} if name == "q29_files" else {}
        if collector is not None:
            env["Q29_COLLECTOR"] = collector.path
        with serve(name, **env) as cluster:
            asyncio.run(ask_often(cluster.url, "/hit", WARM))
            others = [cluster.process.pid] if collector is None else [collector.pid]
            pids = cluster.pids() + others
            before = cpu_seconds(others)
            work, seconds = spent(
                pids, lambda: asyncio.run(ask_often(cluster.url, "/hit", requests))
            )
            other = cpu_seconds(others) - before
            counted = total(cluster, collector)
            for slot in range(WORKERS):
                kill_and_wait(cluster, slot)
            files = len(os.listdir(directory))
    figures = {"requests/s": requests / seconds, "CPU µs a request": work / requests * 1e6}
    if counted is not None:
        figures["counted, %"] = 100 * counted / (requests + WARM)
        figures["CPU of who collects, % of a core"] = 100 * other / seconds
        figures["files after 4 crashes"] = files
    return figures


def total(cluster: Running, collector: Collector | None) -> float | None:
    """How many requests were counted; None where nobody counts."""
    if collector is not None:
        return collector.total
    for line in cluster.get("/metrics").decode().splitlines():
        if line.startswith("hits_total "):
            return float(line.split()[1])
    return None


def kill_and_wait(cluster: Running, slot: int) -> int:
    """Crash a worker, wait until the next one serves, and ask some; how many requests."""
    before = cluster.pids()[slot]
    os.kill(before, signal.SIGKILL)
    while len(pids := cluster.pids()) < WORKERS or before in pids:
        time.sleep(0.05)
    return len(asyncio.run(ask_often(cluster.url, "/hit", 200)))


def collected(requests: int) -> Figures:
    """The same with a process that collects."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Collector(os.path.join(directory, "collector")) as collector,
    ):
        return asked("q29_naive", requests, collector)


def q29(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q29."""
    return {
        "nothing is counted": lambda: asked("q29_plain", requests),
        "a message a request": lambda: collected(requests),
        "prometheus_client's files": lambda: asked("q29_files", requests),
        "cluster.metrics": lambda: asked("q29_right", requests),
    }


# Q26 and Q28


def remembered(name: str, *options: str) -> Figures:
    """40 users who log in: who is known, also when a worker has died, and who has logged out."""
    with serve(name, "--no-access-log", *options) as cluster:
        people = users.logged_in(cluster)
        right = users.known(people, times=5)
        spread = users.loads(cluster)
        cluster.kill(max(spread, key=lambda slot: spread[slot]))
        after = users.known(people)
        stolen = [users.User(cluster.url, user.cookie) for user in people]
        for user in people:
            user.get("/logout")
        return {
            "known to the worker that answers, %": right,
            "after a worker died, %": after,
            "still logged in after the logout, %": users.known(stolen),
            "workers that one address uses": len(spread),
        }


def q26(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q26."""
    return {
        "in each worker's memory": lambda: remembered("q26_naive", *AS_ELSEWHERE),
        "the same, by address": lambda: remembered("q26_naive", "--balance", "sticky-ip"),
        "in a signed cookie": lambda: remembered("q26_signed"),
        "SessionMiddleware": lambda: remembered("q26_right"),
    }


def told(name: str) -> Figures:
    """40 clients of 4 workers, and one that reads nothing."""
    with serve(name, "--no-access-log") as cluster:
        arrived, twice = asyncio.run(listeners.delivered(cluster.url))
    with workers(f"examples.problems.{name}:app", 1, "--no-access-log", cwd=ROOT) as cluster:
        past = asyncio.run(listeners.past_a_stalled_one(cluster.url))
    return {
        "of 1,600 deliveries arrived, %": arrived,
        "twice": twice,
        "arrived beside a client that reads nothing, %": past,
    }


def q28(requests: int) -> dict[str, Callable[[], Figures]]:
    """The ways of Q28."""
    return {
        "each worker its own": lambda: told("q28_naive"),
        "cluster.rooms": lambda: told("q28_right"),
    }


QUESTIONS = {
    "q21": q21, "q22": endings.q22, "q23": q23, "q24": q24, "q25": endings.q25,
    "q26": q26, "q27": endings.q27, "q28": q28, "q29": q29, "q30": endings.q30,
}  # fmt: skip


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="requests or messages a round")
    options = parser.parse_args()
    ways = QUESTIONS[options.question](options.count)
    rounds: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, measure in ways.items():
            rounds[way].append(measure())
    sys.stdout.write("\n".join(table(options.question, rounds)))
    sys.stdout.write(
        f"\n\n{WORKERS} workers, {options.count:,} a round, {options.rounds} rounds, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}\n"
    )


def table(title: str, rounds: dict[str, list[Figures]]) -> Iterator[str]:
    """Medians, as Markdown."""
    names = list(dict.fromkeys(name for found in rounds.values() for name in found[0]))
    yield f"| {title} | {' | '.join(names)} |"
    yield "| --- |" + " --- |" * len(names)
    for way, found in rounds.items():
        medians = [
            f"{statistics.median(figures[name] for figures in found):,.4g}"
            if name in found[0]
            else "-"
            for name in names
        ]
        yield f"| {way} | {' | '.join(medians)} |"


if __name__ == "__main__":
    main()
