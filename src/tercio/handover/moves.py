"""A move of one connection between two workers, step by step. Pure: words and facts in, acts out.

    sender    offers (word), sends, keeps its copy unread
              |--word says taken--> lets go
              |--word says refused, or the receiver is dead and the word unanswered--> has it back
    receiver  finds a message
              |--meant for another incarnation--> drops its copy
              |--no descriptor, no room, leaving--> answers refused, drops its copy
              |--else--> answers taken, and only then reads

No time-out decides. The receiver answers a word once, and never after its death; the sender asks
for the death first and for the word after it, so an answer of the last moment is seen. A sender
that is dead cannot hold anything: the receiver then has the only copy, and takes it whatever it
would have refused. Only if both die, or a receiver that has taken it, is a connection lost.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

_STATE_BITS: Final = 2
_COUNT_BITS: Final = 28


class State(IntEnum):
    """The lowest bits of a word."""

    OFFERED = 1
    TAKEN = 2
    REFUSED = 3


class Outcome(Enum):
    """How an offer ended, for the sender."""

    TAKEN = "taken"
    REFUSED = "refused"
    BEREFT = "bereft"
    """The receiver died before it answered."""


class Act(Enum):
    """What a receiver does with a message."""

    TAKE = "take"
    """Answer TAKEN, then read."""
    INHERIT = "inherit"
    """Read; the sender is dead, and its words are no longer its own: answer nothing."""
    REFUSE = "refuse"
    """Answer REFUSED and drop the copy."""
    DROP = "drop"
    """Drop the copy, if there is one, and answer nothing."""


def offer_word(incarnation: int, count: int) -> int:
    """The word of the ``count``-th offer of a worker: no other offer of its seat has the same."""
    serial = (incarnation & 0xFFFF_FFFF) << _COUNT_BITS | count % (1 << _COUNT_BITS)
    return serial << _STATE_BITS | State.OFFERED


def answered(word: int, state: State) -> int:
    """What a receiver makes of an offer's word."""
    return word & ~0b11 | state


def outcome(offered: int, found: int, *, is_dead: bool) -> Outcome | None:
    """What has become of an offer; None: it is still open.

    ``found`` is the word as it is now, read after ``is_dead`` was: whether the receiver is dead and
    reaped.
    """
    if found == answered(offered, State.TAKEN):
        return Outcome.TAKEN
    if found == answered(offered, State.REFUSED):
        return Outcome.REFUSED
    return Outcome.BEREFT if is_dead else None


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a receiver knows of itself when it looks at a message."""

    incarnation: int
    has_room: bool
    """It takes connections, and may have one more."""


def act(
    receiver: Receiver, *, meant_for: int, offered: int, found: int, has_descriptor: bool
) -> Act:
    """What to do with a message for the incarnation ``meant_for``, whose word is ``found`` now."""
    if meant_for != receiver.incarnation:
        return Act.DROP  # who was meant is dead, and the sender has it back
    is_waited_for = found == offered
    if not has_descriptor:
        return Act.REFUSE if is_waited_for else Act.DROP
    if not is_waited_for:
        return Act.INHERIT
    return Act.TAKE if receiver.has_room else Act.REFUSE
