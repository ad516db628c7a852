"""The options of starting, reloading and stopping.

They are part of `config.Config`.
"""

from dataclasses import dataclass

from tercio.options import kinds
from tercio.options.option import Group

START = Group("Starting and reloading", "A reload that fails leaves the old workers serving.")
STOP = Group("Stopping", "What a stop waits for. The second signal stops at once.")


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """How workers come and go as planned."""

    start_timeout: float = START.option(
        60.0, kinds.duration(low=0.1), "How long import and lifespan start-up may take."
    )
    ready_path: str = START.option(
        "",
        kinds.text("PATH", "a path that begins with '/'", pattern=r"/\S*"),
        "A worker is ready once this path answers 2xx or 3xx.",
        common=True,
    )
    ready_timeout: float = START.option(
        30.0, kinds.duration(low=0.1), "How long --ready-path may take to answer well."
    )
    soak: float = START.option(
        2.0, kinds.duration(), "How long a new worker must stay ready before a reload counts it."
    )
    trial: float = START.option(
        2.0,
        kinds.duration(),
        "How long all new workers serve, the old ones parked, before a reload is final.",
    )
    surge: int = START.option(
        1, kinds.whole(1, 1024), "How many new workers start at once in a reload."
    )
    preload: bool = START.option(
        False,
        kinds.switch(),
        "Import the application once for all workers, which are forked from it and share its"
        " memory. Linux only.",
        aliases=("--preload-app",),
    )
    release_dir: str = START.option(
        "",
        kinds.text("LINK", "a directory, or a link to one"),
        "Start workers in this directory. A link is followed once for each reload: a worker that"
        " comes back later loads what its generation loaded.",
    )
    reload_timeout: float = START.option(
        0.0,
        kinds.duration(zero="computed from the other times"),
        "Roll a reload back that takes longer.",
    )
    drain_timeout: float = START.option(
        30.0,
        kinds.duration(),
        "How long a replaced worker may finish its requests.",
    )
    drain_quiet: float = START.option(
        1.0,
        kinds.duration(),
        "In a drain, close a kept-alive connection once it was idle this long.",
    )
    stop_delay: float = STOP.option(
        0.0, kinds.duration(), "Go on serving this long, for load balancers to notice."
    )
    stop_timeout: float = STOP.option(
        20.0,
        kinds.duration(),
        "How long running requests may take to finish.",
        aliases=("--timeout-graceful-shutdown", "--graceful-timeout"),
        common=True,
    )
    kill_grace: float = STOP.option(
        1.0,
        kinds.duration(),
        "Kill a worker this long after its time to finish was up.",
    )
