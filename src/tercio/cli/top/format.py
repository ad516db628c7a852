"""Numbers as people read them at a glance. Pure."""

from collections.abc import Callable
from typing import Final, TypeAlias

from tercio.units import human_size

NOTHING: Final = "-"

Show: TypeAlias = Callable[[float | None], str]


def count(value: float | None) -> str:
    """``0.4``, ``17``, ``1,234``, ``12.3k``, ``4.5M``."""
    if value is None:
        return NOTHING
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if value >= 10 * factor or (unit == "M" and value >= factor):
            return f"{value / factor:.3g}{unit}" if value < 999.5 * factor else f"{value:.2g}"
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}"


def seconds(value: float | None) -> str:
    """``0``, ``250 µs``, ``1.2 ms``, ``34 ms``, ``2.5 s``."""
    if value is None:
        return NOTHING
    if value <= 0:
        return "0"
    if value < 0.00095:
        return f"{value * 1e6:.0f} µs"
    if value < 0.95:
        return f"{value * 1e3:.{1 if value < 0.00995 else 0}f} ms"
    return f"{value:.1f} s" if value < 99.5 else f"{value:.0f} s"


def size(value: float | None) -> str:
    """``48.2 MiB``."""
    return NOTHING if value is None else human_size(value)


def percent(value: float | None) -> str:
    """``12%``, of one core."""
    return NOTHING if value is None else f"{value:.0f}%"
