"""One of three receivers of a flood is stopped: the others notice nothing, it knows its loss."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tercio.dataplane.rings import Rings
from tests.cluster.chaos.tiers import SLACK, TIER, trials
from tests.engines.embedded.members import Member
from tests.engines.embedded.test_bus import anonymous, until_all_came, wait_stopped

RATE = {"quick": 2_000, "full": 10_000, "extreme": 10_000}
SECONDS = {"quick": 1.5, "full": 30.0, "extreme": 30.0}
TRIALS = {"quick": 1, "full": 10, "extreme": 50}
PLAYS = 3
"""What others do on this machine may hold us up now and then; a fault of ours would always."""
SIZE = 10_000
RING = 16 << 20
"""Bytes. A fifth of a second of the fastest flood: a busy machine laps nobody who runs."""
LEAST = 0.020
"""Seconds below which a 99th percentile says more of the machine than of us."""


@contextmanager
def stopped(member: Member) -> Iterator[None]:
    os.kill(member.pid, signal.SIGSTOP)
    try:
        wait_stopped(member.pid)
        yield
    finally:
        os.kill(member.pid, signal.SIGCONT)


def load(seconds: float, *members: Member) -> list[Any]:
    """What members have to say of the next seconds."""
    for member in members:
        member.ask("lag")
    threading.Event().wait(seconds)  # not a wait for an event: the flood itself
    return [member.ask("lag") for member in members]


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.chaos("C25")
@pytest.mark.timeout(PLAYS * (60 + 2 * SECONDS[TIER]))
@pytest.mark.parametrize("trial", range(TRIALS[TIER]))
def test_others_are_as_fast_while_a_receiver_is_stopped(trial: int) -> None:
    # A test for each, with an end and a verdict of its own: ten take seven minutes at the least.
    trials("C25", 1, 1, 1)
    assert any(play(RATE[TIER], SECONDS[TIER]) for _ in range(PLAYS))


def play(rate: int, seconds: float) -> bool:
    """Stop one for some seconds; whether the others were as fast. Counts are looked at here."""
    rings = Rings.create(4, RING)
    with (
        Member("publish_stamped", rings, 0, "a", rate, SIZE) as publisher,
        Member("time_stamped", rings, 1, "a") as one,
        Member("time_stamped", rings, 2, "a") as two,
        Member("time_stamped", rings, 3, "a") as victim,
    ):
        for member in (publisher, one, two, victim):
            assert member.hear() == "ready"
        assert publisher.ask("go") == "begun"
        _, *first = load(0.3, publisher, one, two)
        lag_before, *before = load(min(seconds, 5.0), publisher, one, two)
        with stopped(victim):
            small = anonymous(publisher.pid)
            own_lag, *during = load(seconds, publisher, one, two)
            grown = anonymous(publisher.pid) - small
        load(0.3, publisher, one, two)
        lag_after, *after = load(min(seconds, 5.0), publisher, one, two)
        total = publisher.ask("stop")
        well = [until_all_came(member, total) for member in (one, two)]
        late = until_all_came(victim, total)
    rings.close()
    # Before and after: what others do on this machine meanwhile comes and goes.
    was, became = (max(each["p99"] for each in some) for some in (before + after, during))
    lag_before = max(lag_before, lag_after, *(each["lag"] for each in before + after))
    lag = max(own_lag, *(each["lag"] for each in during))
    print(
        f"{total} messages of {SIZE} B at {rate}/s: p99 {1e3 * was:.2f} -> {1e3 * became:.2f} "
        f"ms, longest lag {1e3 * lag_before:.0f} -> {1e3 * lag:.0f} ms, publisher "
        f"+{grown >> 10} KiB; the stopped one has {late['delivered']} and knows of "
        f"{late['gaps']} lost"
    )
    assert grown <= 1 << 20
    assert late["gaps"] > 0
    for report in (*well, late):
        assert report["delivered"] + report["gaps"] == total
        assert (report["disorder"], report["dropped"]) == (0, 0)
    for start, middle, end in zip(first, before, during, strict=True):
        # A busy machine may have lapped them before, too.
        was_lost = (middle["gaps"] - start["gaps"]) / min(seconds, 5.0)
        lost = (end["gaps"] - middle["gaps"]) / seconds
        assert lost <= max(2 * was_lost, 0.05 * rate)
    is_fast: bool = became < max(2 * was, LEAST) * SLACK
    return is_fast and bool(lag < max(2 * lag_before, 0.1) * SLACK)
