"""What beats mean."""

import pytest

from tercio.core.health import Beats, Verdict, fatal, holds_up_others, judge
from tercio.core.policy import Policy

POLICY = Policy()


@pytest.mark.parametrize(
    ("beats", "verdict"),
    [
        (Beats(None, None), Verdict.FINE),
        (Beats(0.4, 0.4), Verdict.FINE),
        (Beats(9.0, 0.4), Verdict.BLOCKED),
        (Beats(9.0, 9.0), Verdict.SILENT),
        (Beats(9.0, 9.0, is_stopped=True), Verdict.STOPPED),
        (Beats(99.0, 99.0, is_stopped=True, is_traced=True), Verdict.TRACED),
    ],
)
def test_beats_tell_a_blocked_loop_from_a_stopped_process(beats: Beats, verdict: Verdict) -> None:
    assert judge(beats) is verdict


@pytest.mark.parametrize(
    ("beats", "dies"),
    [
        (Beats(29.9, 0.4), False),
        (Beats(30.0, 0.4), True),
        (Beats(29.9, 29.9), False),
        (Beats(30.0, 30.0), True),
        (Beats(9.9, 9.9, is_stopped=True), False),
        (Beats(10.0, 10.0, is_stopped=True), True),
        (Beats(999.0, 999.0, is_traced=True), False),
    ],
)
def test_only_long_silence_is_fatal_and_a_debugger_is_never_judged(
    beats: Beats, dies: bool
) -> None:
    assert (fatal(judge(beats), beats, POLICY) is not None) is dies


def test_zero_turns_each_kill_off() -> None:
    policy = Policy(blocked_kill=0, stopped_kill=0)
    for beats in (Beats(999.0, 0.1), Beats(999.0, 999.0), Beats(999.0, 999.0, is_stopped=True)):
        assert fatal(judge(beats), beats, policy) is None


@pytest.mark.parametrize(
    ("beats", "dies"),
    [
        (Beats(1.1, 1.1, is_stopped=True, holding_age=1.0), True),
        (Beats(None, None, is_stopped=True, holding_age=1.0), True),
        (Beats(1.1, 1.1, is_stopped=True, holding_age=0.9), False),
        (Beats(0.3, 0.3, is_stopped=True, holding_age=1.0), False),  # it ran a moment ago
        (Beats(1.1, 1.1, is_stopped=True, holding_age=None), False),  # it waits, or does not write
        (Beats(1.1, 0.4, holding_age=9.0), False),  # a slow disk: its threads run
        (Beats(2.9, 2.9, holding_age=2.9), False),
        (Beats(3.0, 3.0, holding_age=3.0), True),
        (Beats(99.0, 99.0, is_traced=True, holding_age=99.0), False),
        (Beats(99.0, 99.0, is_stopped=True, is_traced=True, holding_age=99.0), False),
    ],
)
def test_who_holds_up_the_others_while_it_does_not_run_is_ended(beats: Beats, dies: bool) -> None:
    assert (holds_up_others(beats) is not None) is dies
