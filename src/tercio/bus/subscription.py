"""One subscription: a bounded queue of messages, and exact numbers of those that it missed."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Generic, Literal, Self, TypeVar, cast

from tercio.bus.engine import Tap
from tercio.codec import UNREADABLE, decoder_for
from tercio.errors import SubscriptionLost

_log = logging.getLogger("tercio.bus")

T_co = TypeVar("T_co", covariant=True)

Policy = Literal["drop-oldest", "disconnect", "block"]

POLICIES: Final = ("drop-oldest", "disconnect", "block")


class Subscription(Generic[T_co]):
    """Messages of some topics: ``async for message in subscription``.

    It begins when it is made, and ends with `close` or at the end of ``async with``. Several tasks
    may take from it; each message goes to one of them.
    """

    def __init__(self, type: object, policy: Policy, capacity: int, name: str) -> None:
        if policy not in POLICIES:
            raise ValueError(f"the policy {policy!r} is none of {', '.join(POLICIES)}")
        if capacity < 1:
            raise ValueError(f"a capacity of {capacity}: a subscription holds at least 1 message")
        self.topic = ""
        """Of the message that came last out of the iteration."""
        self.delivered = 0
        """Messages taken out by the application."""
        self.dropped = 0
        """Messages that were thrown away because the application did not take them in time."""
        self.gaps = 0
        """Messages of any topic that were lost on the way to this process, as far as known."""
        self.unknown_gaps = 0
        """Times when messages were lost and nobody can tell how many."""
        self.invalid = 0
        """Messages that were not of the type that was asked for, and left out."""
        self.policy = policy
        self.capacity = capacity
        self._name = name
        self._decode = decoder_for(type)
        self._queue: deque[tuple[str, bytes]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ending: Callable[[], None] | None = None
        self._tap: Tap | None = None
        self._is_held = False  # the tap is paused, because the queue is full
        self._is_closed = False
        self._why_lost = ""

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._queue)

    # For the application

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        queue = self._queue
        while True:
            while not queue:
                await self._wait()
            topic, body = queue.popleft()
            if self._is_held:
                self._go_on()
            try:
                message = self._decode(body)
            except UNREADABLE as error:
                self._refuse(topic, error)
                continue
            self.topic = topic
            self.delivered += 1
            return cast("T_co", message)

    async def items(self) -> AsyncIterator[tuple[str, T_co]]:
        """Iterate over pairs of topic and message."""
        async for message in self:
            yield self.topic, message

    def close(self) -> None:
        """End it; who iterates gets what is there, and then the end."""
        if not self._is_closed:
            self._is_closed = True
            if self._ending is not None:
                self._ending()
            self._wake_all()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # For the bus

    def begin(self, ending: Callable[[], None], tap: Tap | None = None) -> None:
        """Say what ends it, and its own stream if it has one."""
        self._ending = ending
        self._tap = tap

    def put(self, topic: str, body: bytes) -> None:
        """A message came. In the loop."""
        queue = self._queue
        if len(queue) >= self.capacity and not self._make_room():
            return
        queue.append((topic, body))
        if self._waiters:
            self._wake_one()
        if self._tap is not None and len(queue) >= self.capacity:
            self._is_held = True
            self._tap.pause()

    def lose(self, count: int) -> None:
        """Messages were lost on the way."""
        self.gaps += count
        self.unknown_gaps += not count
        if self.policy == "disconnect":
            what = f"{count} messages were" if count else "messages were"
            self._end_lost(f"{what} lost on the way")

    # Parts

    def _make_room(self) -> bool:
        """The queue is full. False if the new message is not to be kept."""
        self.dropped += 1
        if self.policy == "disconnect":
            self._end_lost(f"{self.capacity} messages were waiting")
            return False
        self._queue.popleft()
        return True

    def _end_lost(self, why: str) -> None:
        if not self._is_closed:
            self._why_lost = why
            self.close()

    def _go_on(self) -> None:
        if self._tap is not None and len(self._queue) <= self.capacity // 2:
            self._is_held = False
            self._tap.resume()

    async def _wait(self) -> None:
        if self._is_closed:
            if self._why_lost:
                raise SubscriptionLost(
                    f"the subscription to {self._name} fell behind and was ended: {self._why_lost}"
                )
            raise StopAsyncIteration
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.done() or waiter.cancelled():
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif self._queue:
                self._wake_one()  # it was meant for whoever takes the message
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._waiters:
            self._wake_one()

    def _refuse(self, topic: str, error: BaseException) -> None:
        self.invalid += 1
        if self.invalid == 1:
            _log.warning(
                "a message of %s is not of the type that the subscription to %s asks for, and is "
                "left out, as all like it (counted): %s",
                topic,
                self._name,
                error,
            )
