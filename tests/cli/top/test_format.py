"""Numbers are short enough for their columns, and right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.cli.top import format


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0"), (0.42, "0.4"), (3, "3"), (17.4, "17"), (1234, "1,234"),
        (9999.4, "9,999"), (12345, "12.3k"), (999_400, "999k"), (1_000_000, "1M"),
        (4_512_000, "4.51M"), (123_456_789, "123M"),
    ],
)  # fmt: skip
def test_counts(value: float | None, shown: str) -> None:
    assert format.count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0"), (0.00025, "250 µs"), (0.00094, "940 µs"), (0.0012, "1.2 ms"),
        (0.0099, "9.9 ms"), (0.034, "34 ms"), (0.949, "949 ms"), (0.96, "1.0 s"), (2.5, "2.5 s"),
        (120, "120 s"),
    ],
)  # fmt: skip
def test_durations(value: float | None, shown: str) -> None:
    assert format.seconds(value) == shown


@given(st.floats(0, 9e8))
def test_a_count_fits_its_column(value: float) -> None:
    assert len(format.count(value)) <= 6


@given(st.floats(0, 9999))
def test_a_duration_fits_its_column(value: float) -> None:
    assert len(format.seconds(value)) <= 7
