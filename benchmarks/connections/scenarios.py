"""What is measured, where, and which figure is set beside whose."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.connections import blocked, kill, mix, reload, replacement, short, spread
from benchmarks.connections.client import Target
from benchmarks.connections.outcome import Outcome, Plan
from benchmarks.connections.servers import Running

DIRECT, NGINX, TLS = "direct", "nginx", "tls"
SITES = {
    DIRECT: "asked directly",
    NGINX: "behind nginx with 32 kept upstream connections",
    TLS: "over TLS",
}


@dataclass(frozen=True)
class Scenario:
    """One question."""

    title: str
    measure: Callable[[Running, Target, Plan], Coroutine[Any, Any, Outcome]]
    compared: str
    beside: str = "tercio"
    # TLS is left out where nothing but the price of its handshakes differs.
    sites: tuple[str, ...] = (DIRECT, NGINX, TLS)
    # wrk asks from one address: by address, one worker gets all.
    leaves_out: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)  # by site


SCENARIOS = {
    "reload": Scenario("requests that a reload fails", reload.measure, "reload, s"),
    **{
        f"blocked-{kind}": Scenario(
            f"one worker blocked, {kind}",
            partial(blocked.measure, kind=kind),
            "worst kept, ms",
        )
        for kind in ("sleeping", "spinning", "holding")
    },
    "spread": Scenario(
        "connections a worker, least..most",
        spread.measure,
        "widest at first, % of the mean",
        sites=(DIRECT, NGINX),
        notes={NGINX: "Connections end at nginx: these are the requests of each worker."},
    ),
    "short": Scenario(
        "short connections",
        short.measure,
        "connections/s",
        beside="uvicorn",
        leaves_out=("tercio sticky-ip",),
    ),
    "mix": Scenario(
        "one request in twenty blocks for 50 ms",
        mix.measure,
        "kept, p99 ms",
        notes={TLS: "A connection a request would measure the client's handshakes: left out."},
    ),
    "replacement": Scenario("what a replaced worker gets", replacement.measure, "share at 2 s, %"),
    "kill": Scenario("SIGKILL of a worker", kill.measure, "kept connections lost a kill"),
}
