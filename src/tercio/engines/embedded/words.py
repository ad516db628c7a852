"""Where an engine counts: the process' row of the scoreboard, or words of its own without one."""

from array import array
from typing import Final, Protocol

from tercio.dataplane.scoreboard import Field, Row

_WORDS: Final = 128


class Words(Protocol):
    """Numbers by `Field`."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


def words_of(row: Row | None) -> Words:
    """The words of a row, or private ones."""
    return array("Q", bytes(8 * _WORDS)) if row is None else row.words


def counters_of(words: Words) -> dict[str, int]:
    """What was counted in them."""
    return {
        "reads": words[Field.STATE_READS],
        "writes": words[Field.STATE_WRITES],
        "waits": words[Field.STATE_WAITS],
        "busy": words[Field.STATE_BUSY],
        "slow": words[Field.STATE_SLOW],
        "full": words[Field.STATE_FULL],
    }
