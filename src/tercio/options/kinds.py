"""The kinds of value an option can have: how each is read, what it allows, how it is shown.

A kind reads raw values from any source: text from a flag or the environment, TOML's own types
from a file. It never looks at the machine (whether a file exists is asked in `settings`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tercio import units

T = TypeVar("T")


class Refused(ValueError):
    """A raw value that a kind does not allow, with the reason where there is more to say."""

    def __init__(self, value: object, reason: str = "") -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of value; ``parse`` raises `Refused`, ``allowed`` completes "expected …"."""

    parse: Callable[[object], T]
    allowed: str
    metavar: str
    show: Callable[[T], str] = str
    choices: tuple[str, ...] = ()
    # What 0 means, where it is no amount: "never".
    zero: str = ""
    is_switch: bool = False
    # For options that may be given several times: what separates them in one variable.
    separator: str = ""


def text(metavar: str, allowed: str = "text", *, pattern: str = "") -> Kind[str]:
    """Text without control characters; with ``pattern``, only text that fully matches it."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        if any(ord(character) < 32 or ord(character) == 127 for character in raw):
            raise Refused(raw, "it contains control characters")
        if raw and pattern and not re.fullmatch(pattern, raw):
            raise Refused(raw)
        return raw

    return Kind(parse, allowed, metavar)


def whole(low: int, high: int, *, zero: str = "", metavar: str = "N") -> Kind[int]:
    """A whole number in a range; ``zero`` says what 0 means where it means something else."""
    allowed = f"a whole number from {low} to {high}" + (f" (0 = {zero})" if zero else "")

    def parse(raw: object) -> int:
        number = _whole(raw)
        if not low <= number <= high:
            raise Refused(raw)
        return number

    return Kind(parse, allowed, metavar, zero=zero)


def number(low: float, high: float) -> Kind[float]:
    """A number in a range, for shares and factors."""

    def parse(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise Refused(raw)
        try:
            value = float(raw)
        except ValueError:
            raise Refused(raw) from None
        # Also refuses "nan", which compares false with everything.
        if not low <= value <= high:
            raise Refused(raw)
        return value

    return Kind(parse, f"a number from {low:g} to {high:g}", "SHARE", lambda value: f"{value:g}")


def duration(*, low: float = 0.0, zero: str = "") -> Kind[float]:
    """Seconds, with or without a unit."""
    allowed = "a duration such as 90, 1.5, 250ms, 30s, 5m or 1h"
    allowed += f", at least {units.format_duration(low)}" if low else ""
    allowed += f" (0 = {zero})" if zero else ""

    def parse(raw: object) -> float:
        try:
            seconds = units.parse_duration(raw)
        except ValueError:
            raise Refused(raw) from None
        if seconds < low:
            raise Refused(raw)
        return seconds

    return Kind(parse, allowed, "TIME", units.format_duration, zero=zero)


def size(*, low: int, zero: str = "") -> Kind[int]:
    """Bytes, with or without a unit; where ``zero`` means something, 0 may be below ``low``."""
    allowed = f"a size such as 300MB, 300MiB or 1G, at least {units.format_size(low)}"
    allowed += f" (0 = {zero})" if zero else ""

    def parse(raw: object) -> int:
        try:
            size = units.parse_size(raw)
        except ValueError:
            raise Refused(raw) from None
        if size < low and (size or not zero):
            raise Refused(raw)
        return size

    return Kind(parse, allowed, "SIZE", units.format_size, zero=zero)


def choice(*choices: str) -> Kind[str]:
    """One word of a few, in any case."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str) or raw.strip().lower() not in choices:
            raise Refused(raw)
        return raw.strip().lower()

    return Kind(parse, one_of(choices), "|".join(choices), choices=choices)


def switch() -> Kind[bool]:
    """On or off; on the command line a pair of flags, ``--x`` and ``--no-x``."""

    def parse(raw: object) -> bool:
        return _switch(raw)

    allowed = "true or false"
    return Kind(parse, allowed, "", lambda on: "on" if on else "off", is_switch=True)


def switch_or_auto() -> Kind[bool | None]:
    """On, off, or found out at run time (None)."""

    def parse(raw: object) -> bool | None:
        return None if raw == "auto" else _switch(raw)

    def show(on: bool | None) -> str:
        return "auto" if on is None else "on" if on else "off"

    return Kind(parse, "true, false or auto", "", show, is_switch=True)


def or_auto(kind: Kind[int]) -> Kind[int | str]:
    """What ``kind`` allows, or the word ``auto``."""

    def parse(raw: object) -> int | str:
        if isinstance(raw, str) and raw.strip().lower() == "auto":
            return "auto"
        return kind.parse(raw)

    def show(value: int | str) -> str:
        return value if isinstance(value, str) else kind.show(value)

    return Kind(parse, f"auto or {kind.allowed}", f"auto|{kind.metavar}", show, choices=("auto",))


def or_none(kind: Kind[T]) -> Kind[T | None]:
    """What ``kind`` allows, or ``none`` for "not used"."""

    def parse(raw: object) -> T | None:
        if isinstance(raw, str) and raw.strip().lower() == "none":
            return None
        return kind.parse(raw)

    def show(value: T | None) -> str:
        return "none" if value is None else kind.show(value)

    return Kind(parse, f"{kind.allowed}, or none", kind.metavar, show)


def several(kind: Kind[str], *, separator: str = ",") -> Kind[tuple[str, ...]]:
    """Any number of what ``kind`` allows: a repeated flag, an array in a file."""

    def parse(raw: object) -> tuple[str, ...]:
        given = raw if isinstance(raw, list | tuple) else (raw,)
        return tuple(kind.parse(one) for one in given)

    def show(values: tuple[str, ...]) -> str:
        return ", ".join(values)

    return Kind(parse, kind.allowed, kind.metavar, show, kind.choices, separator=separator)


def one_of(choices: tuple[str, ...]) -> str:
    """``a, b or c``."""
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _whole(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    # int() also reads "1_000", " 7 ", "٣" and a million digits; a flag should not.
    if isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,18}", raw.strip(), re.ASCII):
        return int(raw)
    raise Refused(raw)


def _switch(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        word = raw.strip().lower()
        if word in ("true", "yes", "on", "1"):
            return True
        if word in ("false", "no", "off", "0"):
            return False
    raise Refused(raw)
