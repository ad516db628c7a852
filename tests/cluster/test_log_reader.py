"""The short version of what `scripts/chaos C33` plays for a minute."""

from tests.cluster.chaos.readers import (
    test_a_reader_that_stops_delays_nobody_and_each_lost_line_is_counted,
)

__all__ = ["test_a_reader_that_stops_delays_nobody_and_each_lost_line_is_counted"]
