"""The figures that docs/design.md promises are the ones that a cluster without options goes by."""

import dataclasses

import pytest

from tercio.config import Config
from tercio.core.policy import Policy

PROMISED: dict[str, object] = {
    # A dead worker
    "stable_after": 10,
    "backoff_base": 0.25,
    "backoff_cap": 30,
    "backoff_jitter": 0.5,
    "breaker_window": 60,
    "probe_interval": 30,
    "on_crash_loop": "keep",
    # Boot and reload
    "start_timeout": 60,
    "ready_timeout": 30,
    "soak": 2,
    "surge": 1,
    "drain_timeout": 30,
    "kill_grace": 1,
    # Stop
    "stop_delay": 0,
    "stop_timeout": 20,
    "timeout_keep_alive": 75,
    # Health
    "blocked_after": 1,
    "blocked_kill": 30,
    "stopped_kill": 10,
    # Recycling
    "limit_max_memory": "auto",
    "leak_window": 0,
    "limit_max_requests": 0,
    "limit_max_lifetime": 0,
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_default_is_what_the_design_promises(name: str) -> None:
    assert getattr(Config(), name) == PROMISED[name]


def test_the_policy_has_the_defaults_of_the_options() -> None:
    config, policy = Config(), Policy()
    shared = {f.name for f in dataclasses.fields(Policy)} & {
        f.name for f in dataclasses.fields(Config)
    }
    shared -= {"max_workers"}  # 0 is worked out before there is a policy
    assert len(shared) > 15
    assert {n: getattr(config, n) for n in shared} == {n: getattr(policy, n) for n in shared}
    assert not policy.exit_on_crash_loop


@pytest.mark.parametrize(("workers", "deaths"), [(1, 5), (2, 5), (3, 6), (8, 16)])
def test_the_breaker_opens_after_5_deaths_or_twice_the_workers(workers: int, deaths: int) -> None:
    assert Policy().deaths_allowed(workers) == deaths
