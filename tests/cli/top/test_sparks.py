"""Lines of values become blocks."""

from hypothesis import given
from hypothesis import strategies as st

from tercio.cli.top.sparks import bars

VALUES = st.lists(st.none() | st.floats(0, 1e9), max_size=40)


def test_the_newest_stand_at_the_right() -> None:
    assert bars([1, 2, 4, 8], 6, high=8) == "  ▁▂▄█"
    assert bars([1, 2, 4, 8], 2, high=8) == "▄█"
    assert bars([], 3, high=8) == "   "
    assert bars([1], 0, high=8) == ""


def test_what_is_not_known_is_blank_and_nothing_is_a_line() -> None:
    assert bars([0, None, 0], 3, high=1) == "▁ ▁"


def test_several_lines_are_one_hill() -> None:
    assert bars([4, 8, 16], 3, 2, high=16) == "  █\n▄██"


def test_a_range_may_begin_above_nothing() -> None:
    assert bars([100, 150, 200], 3, low=100, high=200) == "▁▄█"
    assert bars([5, 5], 2, low=5, high=5) == "▁▁"


@given(VALUES, st.integers(0, 50), st.integers(1, 4), st.floats(0, 1e9), st.floats(0, 1e9))
def test_it_is_as_wide_and_high_as_asked(
    values: list[float | None], width: int, height: int, low: float, high: float
) -> None:
    lines = bars(values, width, height, low=low, high=high).split("\n")
    assert [len(line) for line in lines] == [width] * height
