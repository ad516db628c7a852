"""What an event is: a frozen value with a level, a one-line text, and typed fields."""

from dataclasses import dataclass, fields
from enum import Enum
from typing import ClassVar

from tercio.core.model import WorkerId


class Level(Enum):
    """How loud an event is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events."""

    level: ClassVar[Level] = Level.INFO
    is_passing: ClassVar[bool] = False
    """Told, and not kept: it comes again and again, and would push out what happened."""

    @property
    def text(self) -> str:
        """One line for people."""
        raise AssertionError("each event has its own text")

    def to_fields(self) -> dict[str, object]:
        """The typed fields as JSON values; worker ids as "3.7"."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: _plain(value) for name, value in values}


def _plain(value: object) -> object:
    match value:
        case WorkerId():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value
