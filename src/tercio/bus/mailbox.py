"""What waits for one subscription: a bounded queue, and what becomes of that which does not fit.

The bus holds the mailbox, and the application the subscription: one that nobody has any more, and
in which nobody waits, can so be ended.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

from tercio.bus.engine import Tap
from tercio.errors import SubscriptionLost

Policy = Literal["drop-oldest", "disconnect", "block"]

POLICIES: Final = ("drop-oldest", "disconnect", "block")


class Mailbox:
    """Belongs to the loop in which it was begun; `abandon`, `fail` and `close` may come from
    elsewhere."""

    def __init__(self, policy: Policy, capacity: int, name: str) -> None:
        if policy not in POLICIES:
            raise ValueError(f"the policy {policy!r} is none of {', '.join(POLICIES)}")
        if capacity < 1:
            raise ValueError(f"a capacity of {capacity}: a subscription holds at least 1 message")
        self.policy: Policy = policy
        self.capacity: int = capacity
        self.name: str = name
        self.queue: deque[tuple[str, bytes]] = deque()
        self.dropped: int = 0
        self.gaps: int = 0
        self.unknown_gaps: int = 0
        self.invalid: int = 0
        self.is_held: bool = False
        """Whether the tap is paused, because the queue is full."""
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ending: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tap: Tap | None = None
        self._is_closed = False
        self._why_lost = ""

    def begin(self, ending: Callable[[], None], tap: Tap | None = None) -> None:
        """Say what ends it, and its own stream if it has one."""
        self._ending = ending
        self._tap = tap
        self._loop = asyncio.get_running_loop()

    # For the bus

    def put(self, topic: str, body: bytes) -> None:
        """A message came. In the loop."""
        if self._is_closed:  # by a message just before, of the same stretch
            return
        queue = self.queue
        if len(queue) >= self.capacity and not self._make_room():
            return
        queue.append((topic, body))
        if self._waiters:
            self.wake_one()
        if self._tap is not None and len(queue) >= self.capacity:
            self.is_held = True
            self._tap.pause()

    def lose(self, count: int) -> None:
        """Messages were lost on the way."""
        self.gaps += count
        self.unknown_gaps += not count
        if self.policy == "disconnect":
            what = f"{count} messages were" if count else "messages were"
            self._end_lost(f"{what} lost on the way")

    def close(self) -> None:
        """End it; who waits gets what is there, and then the end."""
        if not self._is_closed:
            self._is_closed = True
            if self._ending is not None:
                self._ending()
            if self._is_here():
                self._wake_all()
            elif self._loop is not None:
                with suppress(RuntimeError):  # the loop has ended, and who waited in it, too
                    self._loop.call_soon_threadsafe(self._wake_all)

    def fail(self, why: str) -> None:
        """Let its end, which is near, be one by `SubscriptionLost`. From any thread."""
        if not self._is_closed:
            self._why_lost = f"was ended: {why}"

    def abandon(self) -> None:
        """Nobody can take anything any more: end it with the loop's next turn.

        Not at once: the collector calls this at any moment in any thread.
        """
        if not self._is_closed and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended; the bus closes it in its next one
                self._loop.call_soon_threadsafe(self.close)

    # For the subscription

    async def wait(self) -> None:
        """Return when there may be a message. Raises at the end of it."""
        if self._is_closed:
            if self._why_lost:
                raise SubscriptionLost(f"the subscription to {self.name} {self._why_lost}")
            raise StopAsyncIteration
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.done() or waiter.cancelled():
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif self.queue:
                self.wake_one()  # it was meant for whoever takes the message
            raise

    def go_on(self) -> None:
        """Let the tap go on when there is room again."""
        if self._tap is not None and len(self.queue) <= self.capacity // 2:
            self.is_held = False
            self._tap.resume()

    def wake_one(self) -> None:
        """Let one of those who wait look."""
        while self._waiters:
            waiter = self._waiters.popleft()
            # Who waited in a loop that has ended is no more.
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)
                return

    # Parts

    def _make_room(self) -> bool:
        """The queue is full. False if the new message is not to be kept."""
        self.dropped += 1
        if self.policy == "disconnect":
            self._end_lost(f"{self.capacity} messages were waiting")
            return False
        self.queue.popleft()
        return True

    def _end_lost(self, why: str) -> None:
        if not self._is_closed:
            self._why_lost = f"fell behind and was ended: {why}"
            self.close()

    def _is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _wake_all(self) -> None:
        while self._waiters:
            self.wake_one()
