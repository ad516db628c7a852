"""One reader of the rings, and whom it reads for."""

from typing import Protocol

from tercio.bus.engine import Receiver
from tercio.dataplane.ring_reader import RingReader


class Owner(Protocol):
    """The engine that drains streams."""

    def drain_soon(self) -> None:
        """Look for messages with the loop's next turn."""

    def end(self, stream: "Stream") -> None:
        """Drain ``stream`` no more."""


class Stream:
    """A reader with its receiver. Also the tap that `BusEngine.tap` returns."""

    def __init__(self, reader: RingReader, receiver: Receiver, owner: Owner) -> None:
        self.reader = reader
        self.receiver = receiver
        self._owner = owner

    def pause(self) -> None:
        """Take nothing until `resume`."""
        self.reader.is_paused = True

    def resume(self) -> None:
        """Take messages again, from where it paused."""
        self.reader.is_paused = False
        self._owner.drain_soon()

    def close(self) -> None:
        """Take nothing any more."""
        self._owner.end(self)
