"""One room in one process: who of its clients is in it, and in which order they get what comes.

In a room that keeps messages each has a number. One that comes before its turn waits for those
between, which the shared state has; so clients get every message once, and in order.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tercio.errors import TercioError
from tercio.rooms.kept import Kept
from tercio.rooms.member import FramedMember, Member
from tercio.rooms.posted import ROOM, Posted

_log = logging.getLogger("tercio.rooms")

PATIENCE: Final = 0.1
"""Seconds that a message waits for the ones before it to come by themselves."""

_HELD: Final = 10_000  # messages that wait for one that is missing
_REMEMBERED: Final = 1000  # that were skipped, and may still come

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Place:
    """Clients of this process that are in one room. ``progressed`` is called when something is due
    that did not come with `take`."""

    def __init__(
        self, name: str, kept: Kept | None, spawn: Spawn, progressed: Callable[["Place"], None]
    ) -> None:
        self.name = name
        self.members: dict[str, Member] = {}
        self.ahead: dict[str, tuple[Member, int]] = {}
        """Who comes from a process that was further, and with which message."""
        self.coming = 0
        """Clients that are about to join."""
        self.kept = kept
        self.beginning = asyncio.Lock()
        self.next = 0
        """The number that is due; 0 until it is known."""
        self.recent: deque[Posted] = deque(maxlen=0 if kept is None else kept.keeping.last)
        """What came here of a room that keeps messages."""
        self.lost = 0
        """Messages that nobody has any more."""
        self._spawn = spawn
        self._progressed = progressed
        self._held: dict[int, Posted] = {}
        self._skipped: deque[int] = deque(maxlen=_REMEMBERED)
        self._newest = 0
        self._is_asking = False
        self._pending: list[Posted] = []

    # What comes

    def take(self, posted: Posted) -> bool:
        """A message has come. True: something can be sent now."""
        number = posted.number
        if self.kept is None or not number:
            self._pending.append(posted)
        elif number == self.next:
            self._due(posted)
            self.next += 1
            self._go_on()
        elif number < self.next:
            if number in self._skipped:  # late rather than never
                self._skipped.remove(number)
                self.lost -= 1
                self._due(posted)
        else:
            self._held[number] = posted
            if len(self._held) > _HELD:
                self._skip_to(min(self._held))
            elif self.next:
                self._ask()
        return bool(self._pending)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is here, and nobody is about to come."""
        return not (self.members or self.ahead or self.coming)

    def remove(self, id: str) -> bool:
        """A client leaves. False: it was not here."""
        return self.members.pop(id, None) is not None or self.ahead.pop(id, None) is not None

    def begin(self, newest: int) -> None:
        """The room has come to this number: what follows is due."""
        self.next = newest + 1
        for number in [each for each in self._held if each <= newest]:
            del self._held[number]
        self._go_on()
        if self._held:
            self._ask()
        if self._pending:
            self._progressed(self)

    def flush(self) -> int:
        """Send what is due to everybody here; how many clients were too slow."""
        pending, self._pending = self._pending, []
        if not pending:
            return 0
        return self._send_to_all(pending) + self._send_to_those_ahead(pending)

    def _send_to_those_ahead(self, pending: list[Posted]) -> int:
        slow = 0
        for member, after in list(self.ahead.values()):
            slow += self._send_to(member, [each for each in pending if each.number > after])
            if self.next > after:
                del self.ahead[member.id]
                self.members[member.id] = member
        return slow

    def _send_to_all(self, pending: list[Posted]) -> int:
        if any(posted.exclude for posted in pending):
            return sum(self._send_to(member, pending) for member in list(self.members.values()))
        slow, together = 0, b""
        for member in list(self.members.values()):
            if not isinstance(member, FramedMember):
                slow += self._send_to(member, pending)
            elif not member.is_over:
                # Framed once for all clients, and one write for all that came together.
                frame = member.frames.frame
                together = together or b"".join([frame(posted.content) for posted in pending])
                slow += not member.write(together)
        return slow

    @staticmethod
    def _send_to(member: Member, pending: list[Posted]) -> bool:
        """Whether the client was too slow for what is for it."""
        return not all(
            member.deliver(posted.content) for posted in pending if member.id not in posted.exclude
        )

    # What is missing

    def _due(self, posted: Posted) -> None:
        self._pending.append(posted)
        self.recent.append(posted)

    def _go_on(self) -> None:
        while (posted := self._held.pop(self.next, None)) is not None:
            self._due(posted)
            self.next += 1

    def look(self, newest: int) -> None:
        """The shared state has come to this number: what is not here by itself is fetched."""
        self._newest = newest
        if self.next and self._is_behind:
            self._ask()

    @property
    def _is_behind(self) -> bool:
        return bool(self._held) or self._newest >= self.next

    def _ask(self) -> None:
        if not self._is_asking:
            self._is_asking = True
            self._spawn(self._fetch())

    async def _fetch(self) -> None:
        """Get what is missing before those that wait. What is nowhere is skipped."""
        assert self.kept is not None
        try:
            while self._is_behind:
                await asyncio.sleep(PATIENCE)
                if not self._is_behind:
                    return
                first, last = self.next, min(self._held, default=self._newest + 1) - 1
                try:
                    found = await self.kept.between(first, last)
                except TercioError as error:
                    _log.warning("room %s: what was missed cannot be read: %s", self.name, error)
                    found = {}
                for number, content in found.items():
                    if number >= self.next:
                        self._held.setdefault(number, Posted(ROOM, self.name, content, number))
                self._skip_to(last + 1)
                self._progressed(self)
        finally:
            self._is_asking = False

    def _skip_to(self, number: int) -> None:
        """Go on with ``number``, and before it with what is there."""
        if number > self.next:
            due = sorted(each for each in self._held if each < number)
            gap = range(max(self.next, number - _REMEMBERED), number)
            missing = sorted(set(gap) - set(due))
            if self.next:
                self._skipped.extend(missing)
                self.lost += len(missing)
            for each in due:
                self._due(self._held.pop(each))
            self.next = number
        self._go_on()
