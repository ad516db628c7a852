"""What carries messages between processes, as the bus sees it."""

from typing import Protocol


class Receiver(Protocol):
    """The bus, as an engine sees it. Called in the loop's thread only."""

    def received(self, topic: str, body: bytes | memoryview, sender: int, *, own: bool) -> None:
        """A message came. ``body`` is valid during the call only: it may lie in shared memory.

        ``sender`` tells publishers apart for as long as both live; ``own`` says that this process
        published it.
        """

    def lost(self, count: int, sender: int) -> None:
        """``count`` messages of ``sender`` will not come; 0 if nobody can tell how many."""


class BusEngine(Protocol):
    """Carries bytes. Knows no patterns, no policies and no types."""

    def start(self, receiver: Receiver) -> None:
        """Begin to receive, in the running loop. What was published before is not received."""

    def stop_receiving(self) -> None:
        """No call of the receiver comes after this."""

    def send(self, topic: str, body: bytes) -> None:
        """Publish from any thread; it never waits, and goes out with the loop's next turn.

        Without a running loop it goes out at once. Raises `MessageTooLarge`.
        """

    async def flush(self, limit: float) -> None:
        """Return when all that was sent is where a death of this process cannot undo it.

        Raises `TimeoutError` after ``limit`` seconds.
        """

    async def wait_for_room(self, limit: float) -> None:
        """Return when no subscriber with the policy "block" would lose by one more message.

        Raises `TimeoutError` after ``limit`` seconds.
        """

    def counters(self) -> dict[str, int]:
        """What was counted: sent, received, lost, and what else this engine knows."""

    def close(self) -> None:
        """Send what is left and give everything up."""
