"""What values come back as, for the table in docs/state.md. Run it to write the table anew."""

import asyncio
import dataclasses
import datetime
import decimal
import enum
import pathlib
import re
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from tercio import cluster
from tercio.errors import TercioError

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "state.md"
BEGIN, END = "<!-- round trips: written by python -m tests.api.round_trips -->\n", "<!-- end -->\n"


@dataclasses.dataclass
class Item:
    name: str
    price: int


class Point(NamedTuple):
    x: int
    y: int


class Safe(str):
    """As template engines have them."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Color(enum.Enum):
    RED = "red"


VALUES: tuple[tuple[str, str], ...] = (
    ("None", ""),
    ("True", "bool"),
    ("7", "int"),
    ("2**64 - 1", "int"),
    ("2**64", ""),
    ("1.5", "float"),
    ("2", "float"),
    ("'grün'", "str"),
    ("Safe('<b>')", "str"),
    ("b'\\x00\\xff'", "bytes"),
    ("bytearray(b'ab')", "bytearray"),
    ("[1, 'a', None]", "list"),
    ("(1, 2)", "tuple[int, ...]"),
    ("{3}", "set[int]"),
    ("{'a': 1}", "dict[str, int]"),
    ("{1: 'a'}", "dict[int, str]"),
    ("Item('pen', 3)", "Item"),
    ("[Item('pen', 3)]", "list[Item]"),
    ("Point(1, 2)", "Point"),
    ("Color.RED", "Color"),
    ("datetime(2026, 5, 4, 12, tzinfo=UTC)", "datetime"),
    ("datetime(2026, 5, 4, 12)", "datetime"),
    ("date(2026, 5, 4)", "date"),
    ("timedelta(minutes=5)", "timedelta"),
    ("UUID(int=7)", "UUID"),
    ("Decimal('1.10')", "Decimal"),
    ("'7'", "int"),
    ("1 + 2j", ""),
    ("Path('/tmp')", ""),
    ("object()", ""),
)
"""An expression, and the type that is asked for."""

NAMES: dict[str, Any] = {
    "Item": Item,
    "Safe": Safe,
    "Point": Point,
    "Color": Color,
    "UTC": datetime.UTC,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "timedelta": datetime.timedelta,
    "UUID": uuid.UUID,
    "Decimal": decimal.Decimal,
    "Path": pathlib.Path,
}


async def tried(expression: str, type_: str) -> tuple[str, str]:
    """What comes back without a type and with it."""
    state = cluster.state.namespace("round-trips")
    try:
        await state.set("key", eval(expression, NAMES))
    except TercioError as error:
        return f"`{type(error).__name__}` at `set`", ""
    plain = f"`{shown(await state.get('key'))}`"
    if not type_:
        return plain, ""
    try:
        return plain, f"`{shown(await state.get('key', type=eval(type_, NAMES)))}`"
    except TercioError as error:
        return plain, f"`{type(error).__name__}`"


def shown(value: object) -> str:
    """As Python would write it, without the modules' names."""
    if isinstance(value, Color):
        return str(value)
    text = re.sub(r"\b(datetime|decimal|uuid)\.(?=\w+[(.])", "", repr(value))
    text = re.sub(r"\btimezone\.utc|\bdatetime\.UTC", "UTC", text)
    return text.replace(f"{__name__}.", "")


async def lines() -> Iterator[str]:
    """The table."""
    rows = ["| Stored | Comes back as | `type=` | Comes back as |", "| --- | --- | --- | --- |"]
    for expression, type_ in VALUES:
        plain, typed = await tried(expression, type_)
        name = f"`{type_}`" if type_ else ""
        rows.append(f"| `{expression}` | {plain} | {name} | {typed} |")
    return iter(rows)


def table() -> str:
    """All of it."""
    return "\n".join(asyncio.run(lines())) + "\n"


def main() -> None:
    """Write it into the page."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
