"""How a connection on its way from one worker to another is described, and packed."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from tercio.dataplane.scoreboard import Field
from tercio.errors import ProtocolError
from tercio.http.luggage import Luggage

MOST_DATA: Final = 1 << 20
"""Bytes that may have been read of a connection that moves; with more it stays. The loops read
256 KiB at once."""

_INLINE: Final = 2 << 10
"""Bytes that a message holds itself; more of them lie in a file in memory that goes with it. An
inbox has room for some 200 KB by default (net.core.wmem_max)."""

MOST_HOPS: Final = 4
"""Workers in a row that may pass a connection on without serving it."""

# Kind and version; sender's seat and incarnation, receiver's seat and incarnation; ticket and
# word; cause, hops, seconds idle, requests asked, bytes in a file; bytes read follow.
_GIVE: Final = struct.Struct("<2sHIHIHQBBdQI")
_GIVE_MARK: Final = b"G\x02"

WAKE: Final = b"W\x01"
"""A message without a descriptor: one of your words has an answer."""


class Cause(IntEnum):
    """Why a connection moves."""

    DRAIN = 0
    REBALANCE = 1
    RESCUE = 2
    STICKY = 3

    @property
    def counter(self) -> Field:
        """The word of the scoreboard that counts such moves."""
        return Field(Field.MOVED_DRAIN + self)


@dataclass(frozen=True, slots=True)
class Consignment:
    """A connection on its way: who sends it to whom, under which word."""

    seat: int
    """Of the sender."""
    incarnation: int
    to: int
    """The receiver's seat."""
    to_incarnation: int
    ticket: int
    word: int
    cause: Cause
    luggage: Luggage
    in_file: int = 0
    """Bytes of the luggage that came in a file, and are not in it yet."""

    @property
    def needs_file(self) -> bool:
        """Whether what was read is too much for the message."""
        return len(self.luggage.data) > _INLINE

    def pack(self) -> bytes:
        """The message, without what goes in a file."""
        luggage = self.luggage
        data = b"" if self.needs_file else luggage.data
        head = _GIVE.pack(
            _GIVE_MARK,
            self.seat,
            self.incarnation,
            self.to,
            self.to_incarnation,
            self.ticket,
            self.word,
            self.cause,
            luggage.hops,
            luggage.idle,
            luggage.asked,
            len(luggage.data) - len(data),
        )
        return head + data

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Raises `ProtocolError` for what is no such message."""
        if len(message) < _GIVE.size or message[:2] != _GIVE_MARK:
            raise ProtocolError("an inbox holds something that is no connection")
        (
            _,
            seat,
            incarnation,
            to,
            to_incarnation,
            ticket,
            word,
            cause,
            hops,
            idle,
            asked,
            in_file,
        ) = _GIVE.unpack_from(message)
        if in_file > MOST_DATA:
            raise ProtocolError("a connection moves with more than it may have been read of it")
        luggage = Luggage(idle, asked, hops, message[_GIVE.size :])
        try:
            return cls(
                seat, incarnation, to, to_incarnation, ticket, word, Cause(cause), luggage, in_file
            )
        except ValueError as error:
            raise ProtocolError(f"a connection moves for no known cause: {error}") from error
