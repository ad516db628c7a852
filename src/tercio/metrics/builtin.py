"""The cluster's own metrics, made from the scoreboard when somebody asks.

docs/metrics.md comes from here. It uses the standard library alone: the primary answers with it.
"""

import math
from dataclasses import dataclass
from typing import Final

from tercio.dataplane.families import Distribution, Family
from tercio.dataplane.merging import Reading
from tercio.dataplane.scoreboard import (
    COUNTERS,
    DURATION_BOUNDS,
    FIRST_COUNTER,
    Fact,
    Field,
    Row,
    Scoreboard,
)
from tercio.system import memory, proc


@dataclass(frozen=True, slots=True)
class Builtin:
    """What is known of a metric before it has a value."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self) -> Family:
        """A family without values."""
        return Family(self.kind, self.name, self.help)

    @property
    def shown_name(self) -> str:
        """The name that people see."""
        return self.family().shown_name


REQUESTS: Final = Builtin(
    "counter",
    "tercio_requests",
    "Requests ended or refused, by the class of their status",
    ("status",),
)
DURATION: Final = Builtin(
    "histogram", "tercio_request_duration_seconds", "From a request's head to its answer's end"
)
MOVED: Final = Builtin(
    "counter",
    "tercio_connections_moved",
    "Connections given to another worker, by the reason",
    ("cause",),
)
LAG: Final = Builtin(
    "gauge",
    "tercio_loop_lag_seconds",
    "How late the event loop ran the watchdog's last callback",
    ("worker",),
)
MEMORY: Final = Builtin(
    "gauge", "tercio_worker_memory_bytes", "Resident memory, shared pages included", ("worker",)
)
CPU: Final = Builtin(
    "gauge", "tercio_worker_cpu_seconds", "CPU time since the process began", ("worker",)
)
PID: Final = Builtin("gauge", "tercio_worker_pid", "Process in the slot", ("worker",))
GENERATION: Final = Builtin(
    "gauge", "tercio_worker_generation", "Release that the worker runs", ("worker",)
)
STARTED: Final = Builtin(
    "gauge", "tercio_start_time_seconds", "When the cluster began, in Unix time"
)
DROPPED: Final = Builtin(
    "gauge", "tercio_metrics_series_dropped", "Series without room, or of a name used twice"
)
CERTIFICATE: Final = Builtin(
    "gauge",
    "tercio_tls_certificate_expiry_time_seconds",
    "When the TLS certificate ends that clients are shown, in Unix time; the first to end",
)
TORN: Final = Builtin(
    "gauge", "tercio_metrics_entries_torn", "Entries in shared memory that cannot be read"
)

OF_FACTS: Final = {
    Fact.TARGET: Builtin("gauge", "tercio_workers_target", "Workers that are wanted"),
    Fact.READY: Builtin("gauge", "tercio_workers_ready", "Workers that serve"),
    Fact.RESTARTS: Builtin("counter", "tercio_worker_restarts", "Workers that ended unasked"),
    Fact.RELOADS: Builtin("counter", "tercio_reloads", "Reloads that were committed"),
    Fact.REJECTED: Builtin("counter", "tercio_reloads_rejected", "Reloads that were rolled back"),
    Fact.GENERATION: Builtin("gauge", "tercio_generation", "Release that the cluster runs"),
    Fact.PRIMARY_PID: Builtin("gauge", "tercio_primary_pid", "The primary's process"),
}

_HELP: Final = {
    "IN_FLIGHT": "Requests begun and not ended",
    "CONNECTIONS": "Open connections",
    "WEBSOCKETS": "Open WebSockets",
    "OVERDUE": "Requests to a WSGI application that took too long (--timeout-request)",
    "BLOCKED": "Times that an event loop was found blocked",
    "BLOCKED_US": "How long event loops were blocked",
    "LOG_DROPPED": "Log lines that nobody read in time",
    "HOOK_ERRORS": "Hooks of workers that failed or took too long",
    "ERRORS": "Exceptions that left the application",
    "ACCEPTED": "Connections accepted",
    "REFUSED": "Requests that no application saw, being malformed, too large or too slow",
    "PEERS_REFUSED": "Connections closed as they came, as their client had too many",
    "WS_THROTTLED": "Times that a WebSocket had to wait, as it had sent too many messages",
    "RECEIVED_BYTES": "Bytes of requests and WebSockets that were read, heads included, TLS not",
    "SENT_BYTES": "Bytes of answers and WebSockets that were written, heads included, TLS not",
    "FORWARDED": "Connections passed on, as the worker that they were given to was blocked",
    "ADOPTED": "Connections taken over from other workers",
    "TAKEN_BACK": "Connections whose new worker died before it read them",
    "UNMOVED": "Connections that were to be moved and that nobody could take",
    "STOLEN": "Connections accepted from the queues of other slots",
    "RESCUES": "Times that connections were rescued from a blocked event loop",
    "STATE_USED": "What the shared state takes",
    "STATE_KEYS": "Keys in the shared state",
    "BUS_SENT": "Messages published",
    "BUS_RECEIVED": "Messages read by processes, wanted or not",
    "BUS_LOST": "Messages that were gone before a process read them",
    "BUS_BAD": "Batches of messages that could not be read",
    "STATE_READS": "Operations that read the shared state",
    "STATE_WRITES": "Operations that wrote the shared state",
    "STATE_WAITS": "Writes that waited in a thread",
    "STATE_BUSY": "Operations given up, as another process held the lock",
    "STATE_SLOW": "Writes that took more than 50 ms with their wait",
    "STATE_FULL": "Operations refused without room",
}
"""Of fields of the scoreboard, by their names; others say what their names say."""

_NAMES: Final = {
    "IN_FLIGHT": "requests_in_flight",
    "ERRORS": "app_errors",
    "ACCEPTED": "connections_accepted",
    "LOG_DROPPED": "log_lines_dropped",
    "REFUSED": "requests_refused",
    "PEERS_REFUSED": "connections_refused",
    "WS_THROTTLED": "websockets_throttled",
    "FORWARDED": "connections_forwarded",
    "ADOPTED": "connections_adopted",
    "TAKEN_BACK": "connections_taken_back",
    "UNMOVED": "connections_unmoved",
    "STOLEN": "connections_stolen",
    "STATE_USED": "state_used_bytes",
}

_STATUSES: Final = {
    "1xx": Field.STATUS_1XX,
    "2xx": Field.STATUS_2XX,
    "3xx": Field.STATUS_3XX,
    "4xx": Field.STATUS_4XX,
    "5xx": Field.STATUS_5XX,
}
_CAUSES: Final = {
    "drain": Field.MOVED_DRAIN,
    "rebalance": Field.MOVED_REBALANCE,
    "rescue": Field.MOVED_RESCUE,
    "sticky": Field.MOVED_STICKY,
}
_HANDLED: Final = {
    Field.PID, Field.INCARNATION, Field.PHASE, Field.LOOP_BEAT, Field.THREAD_BEAT,
    Field.LOOP_LAG_US, Field.REQUESTS, Field.DURATION_US, Field.SLOT, Field.GENERATION,
    Field.DURATIONS, Field.STATE_WAITING, Field.STATE_HOLDING, Field.SUSPECT, Field.WATCH_DUE,
    Field.PROMPT, Field.TLS_EXPIRES,
    *_STATUSES.values(), *_CAUSES.values(),
}  # fmt: skip


def of_field(field: Field) -> Builtin:
    """The metric of a field that has no rule of its own."""
    name = _NAMES.get(field.name, field.name.lower())
    help = _HELP.get(field.name, field.name.replace("_", " ").capitalize())
    if name.endswith("_us"):
        name = f"{name.removesuffix('_us')}_seconds"
    return Builtin("counter" if field in COUNTERS else "gauge", f"tercio_{name}", help)


def builtins() -> list[Builtin]:
    """Every metric that there is before the application makes any."""
    fields = [of_field(field) for field in Field if field not in _HANDLED]
    of_workers = [LAG, MEMORY, CPU, PID, GENERATION]
    others = [
        REQUESTS,
        DURATION,
        MOVED,
        *of_workers,
        CERTIFICATE,
        STARTED,
        *OF_FACTS.values(),
        DROPPED,
        TORN,
    ]
    return sorted([*fields, *others], key=lambda one: one.name)


def of_scoreboard(scoreboard: Scoreboard) -> list[Family]:
    """The metrics of all processes. Raises `TimeoutError`; see `Scoreboard.totals`."""
    totals = scoreboard.totals()
    rows = [row for row in scoreboard if row[Field.PID]]
    workers = [row for row in rows if row[Field.SLOT]]
    found = [
        _requests(totals),
        _durations(scoreboard, totals),
        _moved(totals),
        *_workers(workers),
    ]
    if ends := [row[Field.TLS_EXPIRES] for row in workers if row[Field.TLS_EXPIRES]]:
        found.append(CERTIFICATE.family().add(min(ends)))
    for field in Field:
        if field in _HANDLED:
            continue
        scale = 1e6 if field.name.endswith("_US") else 1
        value = totals[field] if field >= FIRST_COUNTER else sum(row[field] for row in rows)
        found.append(of_field(field).family().add(value / scale))
    if started := scoreboard.fact(Fact.STARTED):
        found.append(STARTED.family().add(started / 1e3))
        found += (it.family().add(scoreboard.fact(fact)) for fact, it in OF_FACTS.items())
    return found


def of_series(reading: Reading) -> list[Family]:
    """What is to be known of the metrics themselves."""
    return [DROPPED.family().add(reading.dropped), TORN.family().add(reading.torn)]


def _requests(totals: dict[Field, int]) -> Family:
    family = REQUESTS.family()
    for status, field in _STATUSES.items():
        family.add(totals[field], {"status": status})
    ended = totals[Field.REQUESTS] + totals[Field.REFUSED]
    unanswered = ended - sum(totals[field] for field in _STATUSES.values())
    # The words of a living worker are read while it counts: a request may be in one of two.
    return family.add(max(0, unanswered), {"status": "none"})


def _moved(totals: dict[Field, int]) -> Family:
    family = MOVED.family()
    for cause, field in _CAUSES.items():
        family.add(totals[field], {"cause": cause})
    return family


def _durations(scoreboard: Scoreboard, totals: dict[Field, int]) -> Family:
    family = DURATION.family()
    bounds = (*DURATION_BOUNDS, math.inf)
    counts = dict(zip(bounds, map(float, scoreboard.durations()), strict=True))
    family.series[()] = Distribution(counts, totals[Field.DURATION_US] / 1e6)
    return family


def _workers(rows: list[Row]) -> list[Family]:
    """By slot: a label that changed with each restart would make series without end."""
    lag, resident, cpu = LAG.family(), MEMORY.family(), CPU.family()
    pid, generation = PID.family(), GENERATION.family()
    # In the order of age, as the newest of two in one slot is the one to name.
    for row in sorted(rows, key=lambda row: row[Field.INCARNATION]):
        labels = {"worker": str(row[Field.SLOT] - 1)}
        key = tuple(labels.items())
        own_lag = row[Field.LOOP_LAG_US] / 1e6
        lag.series[key] = max(own_lag, _plain(lag.series.get(key)))
        process = row[Field.PID]
        resident.add(memory.rss(process) or 0, labels)
        state = proc.state(process)
        cpu.add(state.cpu_seconds if state else 0, labels)
        pid.series[key] = float(process)
        generation.series[key] = float(row[Field.GENERATION])
    return [lag, resident, cpu, pid, generation]


def _plain(value: float | Distribution | None) -> float:
    return value if isinstance(value, float) else 0.0
