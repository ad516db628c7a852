"""What carries messages between processes, as the bus sees it."""

from collections.abc import Callable, Mapping
from typing import Protocol

Routes = Mapping[bytes, Callable[[bytes], None] | None]
"""Who takes the body of a message of a topic; None if nobody does.

Look it up by ``routes[topic]`` for every message: a topic that was not asked for before is matched
with all patterns then, and what it gives may change with the next subscription.
"""


class Receiver(Protocol):
    """The bus, as an engine sees it. Called in the loop's thread only."""

    @property
    def routes(self) -> Routes:
        """Who takes messages of other processes."""

    @property
    def own_routes(self) -> Routes:
        """Who takes messages that this process published."""

    @property
    def wants_own(self) -> bool:
        """Whether anybody may take messages that this process published."""

    def lost(self, count: int, sender: int) -> None:
        """``count`` messages of ``sender`` will not come; 0 if nobody can tell how many.

        ``sender`` tells publishers apart for as long as both live.
        """


class Tap(Protocol):
    """A stream of all messages, beside the one of `start`, that can be held up."""

    def pause(self) -> None:
        """Take nothing until `resume`; what comes waits at its publishers, as long as it can."""

    def resume(self) -> None:
        """Go on where it was paused."""

    def close(self) -> None:
        """End it. Publishers wait for it no more."""


class BusEngine(Protocol):
    """Carries bytes. Knows no patterns, no policies and no types."""

    def start(self, receiver: Receiver) -> None:
        """Begin to receive, in the running loop. What was published before is not received."""

    def stop_receiving(self) -> None:
        """No call of the receiver comes after this."""

    def tap(self, receiver: Receiver) -> Tap | None:
        """Begin another stream, for which `wait_for_room` waits.

        None if this engine cannot hold a publisher up.
        """

    def send(self, topic: bytes, body: bytes, *, own: bool = True) -> None:
        """Publish from any thread; it never waits, and goes out with the loop's next turn.

        Without a running loop it goes out at once. Without ``own`` this process does not get it.
        Raises `MessageTooLarge`, or `ForkedFromWorker` in a child that was forked.
        """

    async def flush(self, limit: float) -> None:
        """Return when all that was sent is where a death of this process cannot undo it.

        Raises `TimeoutError` after ``limit`` seconds.
        """

    async def wait_for_room(self, limit: float) -> None:
        """Return when no tap of any process would lose by one more message.

        Raises `TimeoutError` after ``limit`` seconds.
        """

    def counters(self) -> dict[str, int]:
        """What was counted: sent, received, lost, and what else this engine knows."""

    def close(self) -> None:
        """Send what is left and give everything up."""
