"""The options of workers: how many, when they come back, and when one is replaced.

They are part of `config.Config`.
"""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group
from tercio.units import MIB

WORKERS = Group("Workers", "One process a core; `tercio scale` changes their number later.")
RESTARTS = Group("Restarts", "How a worker that died comes back.")
RECYCLING = Group("Recycling and limits", "A worker is replaced before it is retired.")
HEALTH = Group("Health", "What happens to a worker that does not answer.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How many workers there are, and how long each lives."""

    workers: int | str = WORKERS.option(
        "auto",
        kinds.or_auto(kinds.whole(1, 1024)),
        "Worker processes; 'auto' looks at cores, CPU quota and memory.",
        flags=("-w",),
        env=("WEB_CONCURRENCY",),
        instead="use `tercio scale`",
        common=True,
    )
    max_workers: int = WORKERS.option(
        0,
        kinds.whole(0, 1024, zero="the largest of twice the workers, the CPUs and 16"),
        "The most workers `tercio scale` may ask for.",
        instead=_FIXED,
    )
    stable_after: float = RESTARTS.option(
        10.0, kinds.duration(), "A worker that was ready this long restarts at once."
    )
    backoff_base: float = RESTARTS.option(
        0.25, kinds.duration(low=0.01), "The first wait before an early death is restarted."
    )
    backoff_cap: float = RESTARTS.option(
        30.0, kinds.duration(low=0.01), "The longest such wait; each doubles the one before."
    )
    backoff_jitter: float = RESTARTS.option(
        0.5, kinds.number(0.0, 1.0), "Waits are multiplied by a random factor from this to 1."
    )
    breaker_deaths: int = RESTARTS.option(
        0,
        kinds.whole(0, 100_000, zero="the larger of 5 and twice the workers"),
        "Early deaths within --breaker-window that stop all restarts but a probe.",
    )
    breaker_window: float = RESTARTS.option(
        60.0, kinds.duration(low=1.0), "The time in which early deaths are counted."
    )
    probe_interval: float = RESTARTS.option(
        30.0, kinds.duration(low=0.1), "How often one worker is tried after that."
    )
    on_crash_loop: str = RESTARTS.option(
        "keep",
        kinds.choice("keep", "exit"),
        "Then keep trying, or exit once no worker is ready.",
    )
    limit_max_memory: int | str = RECYCLING.option(
        "auto",
        kinds.or_auto(kinds.size(low=16 * MIB, zero="never")),
        "Recycle a worker above this; 'auto' is its share of a container, 0 is never.",
        common=True,
    )
    leak_window: float = RECYCLING.option(
        0.0,
        kinds.duration(zero="never"),
        "Recycle a worker whose memory grew all through this time.",
    )
    limit_max_requests: int = RECYCLING.option(
        0,
        kinds.whole(0, 10**12, zero="never"),
        "Recycle a worker after this many requests.",
        aliases=("--max-requests",),
        common=True,
    )
    limit_max_lifetime: float = RECYCLING.option(
        0.0,
        kinds.duration(zero="never"),
        "Recycle a worker after this time.",
        aliases=("--workers-lifetime",),
    )
    limit_jitter: float = RECYCLING.option(
        0.1, kinds.number(0.0, 1.0), "Lower the three limits above by up to this share."
    )
    memory_interval: float = RECYCLING.option(
        10.0, kinds.duration(low=0.1), "How often to measure memory."
    )
    sample_interval: float = RECYCLING.option(
        1.0, kinds.duration(low=0.1), "How often to read the workers' counters."
    )
    worker_limit: tuple[str, ...] = RECYCLING.option(
        (),
        kinds.several(subjects.resource_limit()),
        "Kernel limit of a worker: memory=1GB, nofile=4096 or cpu=1h. Repeatable.",
    )
    blocked_after: float = HEALTH.option(
        1.0,
        kinds.duration(low=0.05),
        "Report an event loop that one call has held this long, and where.",
    )
    rescue: str = HEALTH.option(
        "thread",
        kinds.choice("thread", "off"),
        "Give connections that wait for a held event loop to other workers.",
    )
    rescue_after: float = HEALTH.option(
        0.01, kinds.duration(low=0.005), "How long one call must have held the loop for that."
    )
    blocked_kill: float = HEALTH.option(
        30.0, kinds.duration(zero="never"), "Replace a worker whose loop was held this long."
    )
    stopped_kill: float = HEALTH.option(
        10.0, kinds.duration(zero="never"), "Replace a process that did not run at all this long."
    )
