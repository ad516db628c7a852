"""Sizes and durations: read as people write them, written so that they read back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio import units

SIZES = [
    ("0", 0),
    ("300", 300),
    ("300b", 300),
    ("300MB", 300_000_000),
    ("300mb", 300_000_000),
    ("300 MB", 300_000_000),
    ("300MiB", 300 << 20),
    ("300M", 300 << 20),
    ("1G", 1 << 30),
    ("1GiB", 1 << 30),
    ("1GB", 10**9),
    ("2k", 2048),
    ("2kB", 2000),
    ("1.5GiB", 3 << 29),
    (".5k", 512),
    ("1T", 1 << 40),
    (4096, 4096),
]

DURATIONS = [
    ("0", 0.0),
    ("90", 90.0),
    ("1.5", 1.5),
    ("30s", 30.0),
    ("30 s", 30.0),
    ("250ms", 0.25),
    ("5m", 300.0),
    ("1h", 3600.0),
    ("2d", 172_800.0),
    ("1.5H", 5400.0),
    (90, 90.0),
    (1.5, 1.5),
]

NO_SIZES: list[object] = ["", " ", "MB", "-1", "1e3", "1_000", "3 apples", "1.5", "1.5b", "٣"]
NO_SIZES += ["9" * 40, "2000000T", True, None, 1.5, -1, [1], 1 << 61]
NO_DURATIONS: list[object] = [
    "",
    "s",
    "-1",
    "1e3",
    "nan",
    "inf",
    "1h30m",
    "3 weeks",
    "400d",
    "9" * 40,
]
NO_DURATIONS += ["9" * 40, True, None, -0.1, math.nan, math.inf, -math.inf, 10**400, [1]]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_a_size_is_read_as_people_write_it(text: object, size: int) -> None:
    assert size == units.parse_size(text)


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_a_duration_is_read_as_people_write_it(text: object, seconds: float) -> None:
    assert seconds == units.parse_duration(text)


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        units.parse_size(text)


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        units.parse_duration(text)


@given(st.integers(0, units.LARGEST_BYTES))
def test_a_formatted_size_reads_back_as_the_same_bytes(size: int) -> None:
    assert size == units.parse_size(units.format_size(size))


@given(st.integers(0, 2000), st.sampled_from(["", "b", "k", "KB", "KiB", "M", "mb", "MIB", "G"]))
def test_a_size_with_a_unit_survives_formatting(count: int, unit: str) -> None:
    size = units.parse_size(f"{count}{unit}")
    assert size == units.parse_size(units.format_size(size))


@given(st.floats(0, units.LONGEST_SECONDS))
def test_a_formatted_duration_reads_back_as_the_same_seconds(seconds: float) -> None:
    assert math.isclose(
        seconds, units.parse_duration(units.format_duration(seconds)), rel_tol=0, abs_tol=1e-9
    )


@given(st.integers(0, 366 * 86400))
def test_whole_seconds_read_back_exactly(seconds: int) -> None:
    assert seconds == units.parse_duration(units.format_duration(float(seconds)))


@given(st.text(max_size=12))
def test_no_text_makes_a_parser_fail_otherwise(text: str) -> None:
    for parse in (units.parse_size, units.parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (312 << 20, "312 MiB"),
        (99.7 * (1 << 20), "100 MiB"),
        (5 << 40, "5 TiB"),
    ],
)
def test_a_size_in_a_table_is_short(size: float, shown: str) -> None:
    assert shown == units.human_size(size)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0s"),
        (0, "0.0s"),
        (3.14159, "3.1s"),
        (59.9, "59s"),
        (61, "1m 01s"),
        (3600, "1h 00m"),
        (90_061, "1d 1h"),
    ],
)
def test_a_duration_in_a_table_is_short(seconds: float, shown: str) -> None:
    assert shown == units.human_duration(seconds)
