"""`tercio status`: a summary, a table of workers, and what is not as it should be."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator

import click

from tercio.cli.client import Client, Message, number, record, records, text
from tercio.cli.clusters import Chosen, cluster_options
from tercio.cli.text import cut, escape, table
from tercio.units import human_duration, human_size

_HEADER = (
    "SLOT", "PID", "GENERATION", "STATE", "UPTIME", "RESTARTS", "REQUESTS", "CONNS", "CPU",
    "MEMORY", "LAST ERROR",
)  # fmt: skip
_NUMBERS = (
    "SLOT", "PID", "GENERATION", "UPTIME", "RESTARTS", "REQUESTS", "CONNS", "CPU", "MEMORY",
)  # fmt: skip
_JOBS_HEADER = ("JOB", "SCHEDULE", "LAST RUN", "TOOK", "OUTCOME", "RUNNER", "NEXT RUN", "ERROR")
_CAUSES = {
    "drain": "as workers left",
    "rebalance": "to even out",
    "rescue": "out of blocked workers",
    "sticky": "to their sessions' workers",
    "stolen": "accepted for another worker",
}
_NOTHING = "-"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@cluster_options
def status(chosen: Chosen, as_json: bool) -> None:
    """Show the cluster and its workers."""
    with Client(chosen.directory) as client:
        result = client.ask("status")
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for line in render(result):
        click.echo(cut(line, width))


def render(status: Message) -> list[str]:
    """The lines of a status, escaped."""
    lines = [*_summary(status), ""]
    rows = list(_rows(status))
    lines += table(_HEADER, rows, right=_NUMBERS) if rows else ["no workers"]
    if jobs := list(_jobs(status)):
        lines += ["", *table(_JOBS_HEADER, jobs)]
    if noted := list(notes(status)):
        lines += ["", *noted]
    return lines


def _summary(status: Message) -> Iterator[str]:
    ready, target = number(status, "ready"), number(status, "target")
    parts = [
        text(status, "name") or "cluster",
        text(status, "state"),
        f"{_count(ready)} of {_count(target)} workers ready",
        f"generation {_count(number(status, 'generation'))}",
        f"up {_duration(number(status, 'uptime'))}",
        f"pid {_count(number(status, 'pid'))}",
    ]
    yield escape(" · ".join(part for part in parts if part))
    listeners = status.get("listeners")
    urls = " ".join(map(str, listeners)) if isinstance(listeners, list) else ""
    version = text(status, "version")
    engine = text(status, "engine")
    made_of = [urls, text(status, "server"), engine]
    made_of += [f"tercio {version}" if version else "", text(status, "runtime_dir")]
    if any(made_of):
        yield escape(" · ".join(part for part in made_of if part))
    if (rate := number(status, "requests_per_second")) is not None:
        open_now = (number(worker, "connections") or 0 for worker in records(status, "workers"))
        running = (number(worker, "in_flight") or 0 for worker in records(status, "workers"))
        yield (
            f"{_count(number(status, 'requests'))} requests · {rate:g}/s · "
            f"{_count(number(status, 'server_errors'))} with 5xx · {sum(running):g} in flight · "
            f"{sum(open_now):g} connections"
        )
    if (moves := record(status, "moves")) is not None:
        balance = record(status, "balance") or {}
        parts = [
            f"{_count(moved)} {how}"
            for cause, how in _CAUSES.items()
            if (moved := number(moves, cause))
        ]
        said = f"connections moved: {', '.join(parts)}" if parts else "no connection was moved"
        yield escape(" · ".join(filter(None, (f"balance {text(balance, 'policy')}", said))))
    for template in records(status, "templates"):
        shared = _size(number(template, "shared_bytes"))
        phase = "ready" if template.get("is_ready") else "starting"
        yield (
            f"template of generation {number(template, 'generation'):g} {phase} · "
            f"pid {number(template, 'pid'):g} · shares {shared} · own part "
            f"{_size(number(template, 'pss_bytes'))}"
        )
    if release := text(status, "release"):
        yield escape(f"release {release}")
    yield from _certificate(status)


def _certificate(status: Message) -> Iterator[str]:
    """When what clients are shown ends; two dates while some workers show an older one."""
    ends = {number(worker, "certificate_expires") for worker in records(status, "workers")}
    for end in sorted(filter(None, ends)):
        left = end - time.time()
        ago = f"in {human_duration(left)}" if left > 0 else "it has expired"
        yield f"certificate until {time.strftime('%Y-%m-%d %H:%M', time.gmtime(end))} UTC, {ago}"


def _rows(status: Message) -> Iterator[tuple[str, ...]]:
    slots = {number(slot, "slot"): slot for slot in records(status, "slots")}
    workers = sorted(
        records(status, "workers"),
        key=lambda worker: (number(worker, "slot") or 0, number(worker, "incarnation") or 0),
    )
    occupied = {number(worker, "slot") for worker in workers}
    rows = []
    for worker in workers:
        slot = slots.get(number(worker, "slot"), {})
        # A slot remembers the errors of its earlier workers.
        error = text(worker, "last_error") or text(slot, "last_error")
        restarts = number(worker, "restarts")
        rows.append(
            (
                number(worker, "slot") or 0,
                (
                    _count(number(worker, "slot")),
                    _count(number(worker, "pid")),
                    _count(number(worker, "generation")),
                    _phase(worker),
                    _duration(number(worker, "uptime")),
                    _count(number(slot, "restarts") if restarts is None else restarts),
                    _count(number(worker, "requests")),
                    _count(number(worker, "connections")),
                    _percent(number(worker, "cpu_percent")),
                    _memory(worker),
                    _first_line(error),
                ),
            )
        )
    for key, slot in slots.items():
        wait = number(slot, "next_start_in")
        if key not in occupied and (wait is not None or text(slot, "last_error")):
            state = "empty" if wait is None else f"starts in {human_duration(wait)}"
            cells = (_count(key), _NOTHING, _NOTHING, state, _NOTHING,
                     _count(number(slot, "restarts")), _NOTHING, _NOTHING, _NOTHING, _NOTHING,
                     _first_line(text(slot, "last_error")))  # fmt: skip
            rows.append((key or 0, cells))
    yield from (cells for _, cells in sorted(rows, key=lambda row: row[0]))


def _jobs(status: Message) -> Iterator[tuple[str, ...]]:
    """What one worker runs for all. Times are this machine's."""
    now = time.time()
    for job in records(status, "jobs"):
        last, following = number(job, "last_run"), number(job, "next_run")
        yield (
            escape(text(job, "job")),
            escape(text(job, "schedule")),
            _NOTHING if last is None else f"{human_duration(max(now - last, 0.0))} ago",
            _duration(number(job, "seconds")),
            escape(text(job, "outcome")) or _NOTHING,
            escape(text(job, "runner")) or _NOTHING,
            _NOTHING if following is None else f"in {human_duration(max(following - now, 0.0))}",
            escape(_first_line(text(job, "error"))),
        )


def notes(status: Message) -> Iterator[str]:
    """What is not as it always is, a line each, escaped."""
    if (running := record(status, "reload")) is not None:
        yield f"reload: {_told(running, _reload)}"
    if (last := record(status, "last_reload")) is not None:
        yield f"last reload: {_told(last, str)}"
    if (breaker := record(status, "breaker")) is not None:
        yield f"restarts are held back: {_told(breaker, _breaker)}"
    for slot in records(status, "slots"):
        reasons = slot.get("reasons")
        if isinstance(reasons, list) and reasons:
            shown = "; ".join(escape(reason) for reason in reasons)
            yield f"slot {_count(number(slot, 'slot'))} restarted: {shown}"
    for worker in records(status, "workers"):
        if note := text(worker, "note"):
            yield f"slot {_count(number(worker, 'slot'))}: {escape(note)}"
    if (balance := record(status, "balance")) is not None and (why := text(balance, "why")):
        yield escape(f"balance {text(balance, 'policy')}, not {text(balance, 'asked')}: {why}")
    for queue in records(status, "queues"):
        if waiting := number(queue, "waiting"):
            yield (
                f"slot {_count(number(queue, 'slot'))}: {_count(waiting)} connections wait to be "
                f"accepted, for {_duration(number(queue, 'waiting_seconds'))}"
            )
    for worker in records(status, "workers"):
        if culprit := text(worker, "culprit"):
            yield escape(
                f"slot {_count(number(worker, 'slot'))}: its event loop was blocked "
                f"{_count(number(worker, 'blocked'))} times, "
                f"{_duration(number(worker, 'blocked_seconds'))} in all, last at {culprit}"
            )
    if lost := number(status, "log_dropped"):
        yield f"primary: {_count(lost)} log lines dropped, nobody read them in time"
    for worker in records(status, "workers"):
        if lost := number(worker, "log_dropped"):
            yield (
                f"slot {_count(number(worker, 'slot'))}: {_count(lost)} log lines dropped, "
                "nobody read them in time"
            )
    told = status.get("notes")
    for note in told if isinstance(told, list) else ():
        yield escape(note)


def _told(facts: Message, describe: Callable[[Message], str]) -> str:
    """What a record says of itself; without a text of its own, what we can say of it."""
    return escape(text(facts, "text") or describe(facts))


def _reload(facts: Message) -> str:
    stage = text(facts, "stage")
    waiting = ", and one more is asked for" if facts.get("waiting") else ""
    return (
        f"to generation {_count(number(facts, 'generation'))} {f'({stage})' if stage else ''} "
        f"since {_duration(number(facts, 'seconds'))}, "
        f"{_count(number(facts, 'ready'))} of {_count(number(facts, 'of'))} workers ready{waiting}"
    )


def _breaker(facts: Message) -> str:
    return (
        f"{_count(number(facts, 'deaths'))} early deaths; "
        f"one worker is tried in {_duration(number(facts, 'next_probe_in'))}"
    )


def _phase(worker: Message) -> str:
    phase = text(worker, "phase") or _NOTHING
    in_flight = number(worker, "in_flight")
    # How many requests a leaving worker still has is what one wants to know of it.
    return f"{phase} ({in_flight:.0f} left)" if phase == "draining" and in_flight else phase


def _count(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.0f}%"


def _size(value: float | None) -> str:
    return _NOTHING if value is None else human_size(value)


def _memory(worker: Message) -> str:
    """Its own, and that of the processes which carry out its calls: ``20 MiB + 2: 31 MiB``."""
    own = _size(number(worker, "memory_bytes"))
    offloaded = record(worker, "offloaded") or {}
    pids = offloaded.get("pids")
    if not isinstance(pids, list) or not pids:
        return own
    return f"{own} + {len(pids)}: {_size(number(offloaded, 'memory_bytes'))}"


def _duration(value: float | None) -> str:
    return _NOTHING if value is None else human_duration(value)


def _first_line(error: str) -> str:
    return error.strip().partition("\n")[0] or _NOTHING
