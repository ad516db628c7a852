"""One subscription, as the application has it: messages of a type, and exact numbers of others."""

import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from tercio.bus.mailbox import Mailbox, Policy
from tercio.codec import UNREADABLE, decoder_for

_log = logging.getLogger("tercio.bus")

T_co = TypeVar("T_co", covariant=True)


class Subscription(Generic[T_co]):
    """Messages of some topics: ``async for message in subscription``.

    It begins when it is made, and ends with `close`, at the end of ``async with``, or when nobody
    has it any more. Several tasks may take from it; each message goes to one of them.
    """

    def __init__(self, type: object, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._decode = decoder_for(type)
        self.topic: str = ""
        """Of the message that came last out of the iteration."""
        self.delivered: int = 0
        """Messages taken out by the application."""
        self.policy: Policy = mailbox.policy
        self.capacity: int = mailbox.capacity

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._mailbox.queue)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        mailbox = self._mailbox
        queue = mailbox.queue
        while True:
            while not queue:
                await mailbox.wait()
            topic, body = queue.popleft()
            if mailbox.is_held:
                mailbox.go_on()
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

    @property
    def dropped(self) -> int:
        """Messages that were thrown away because the application did not take them in time."""
        return self._mailbox.dropped

    @property
    def gaps(self) -> int:
        """Messages of any topic that were lost on the way to this process, as far as known."""
        return self._mailbox.gaps

    @property
    def unknown_gaps(self) -> int:
        """Times when messages were lost and nobody can tell how many."""
        return self._mailbox.unknown_gaps

    @property
    def invalid(self) -> int:
        """Messages that were not of the type that was asked for, and left out."""
        return self._mailbox.invalid

    def close(self) -> None:
        """End it; who iterates gets what is there, and then the end."""
        self._mailbox.close()

    def __del__(self) -> None:
        # Whoever leaves ``async for`` by an exception or a cancellation has no name to close.
        self._mailbox.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse(self, topic: str, error: BaseException) -> None:
        self._mailbox.invalid += 1
        if self._mailbox.invalid == 1:
            _log.warning(
                "a message of %s is not of the type that the subscription to %s asks for, and is "
                "left out, as all like it (counted): %s",
                topic,
                self._mailbox.name,
                error,
            )
