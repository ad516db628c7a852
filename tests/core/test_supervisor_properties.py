"""The supervisor against a hostile world; `scripts/property` runs thousands of these."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.core.machine import core_of, machine_for

EXAMPLES = int(os.environ.get("TERCIO_PROPERTY_EXAMPLES", "500"))


@pytest.mark.timeout(900)  # to shrink what is found takes minutes
def test_no_order_of_events_breaks_an_invariant() -> None:
    run_state_machine_as_test(
        machine_for(core_of("tercio.core")),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
