"""The primary's handle on one worker process: its descriptors, and how to reach it."""

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Final

from tercio.core.model import WorkerId
from tercio.dataplane.segment import anonymous_file
from tercio.errors import ChannelClosed
from tercio.primary.allowance import Allowance
from tercio.system.channel import Channel, ChannelFull
from tercio.system.process import ChildProcess

_STACK_BYTES: Final = 48 * 1024

LETTERS_A_SECOND: Final = 200
"""Twice what a worker allows itself: its second may begin in the middle of ours."""


class WorkerProcess:
    """One process, from its spawn until it was reaped."""

    def __init__(
        self, who: WorkerId, seat: int, process: ChildProcess, channel: Channel, stack: int
    ) -> None:
        self.id = who
        self.seat = seat
        self.process = process
        self.channel = channel
        self.was_killed = False
        self.is_stack_wanted = False  # asked for, not published yet
        self.is_end_expected = False  # its channel has ended
        self.has_reported_cut = False
        self.culprit = ""  # where its loop was last found blocked
        self.dumps: dict[int, asyncio.Future[str]] = {}  # asked for and not answered
        self.letters: dict[int, asyncio.Future[str]] = {}  # given to it, and not taken yet
        self.allowance = Allowance()
        self.letter_allowance = Allowance(LETTERS_A_SECOND)
        self._heard: set[type] = set()
        self._stack = stack

    def send(self, message: Mapping[str, object]) -> bool:
        """Send a message; False when the worker takes none, being gone or stuck."""
        try:
            self.channel.send(message)
        except (ChannelClosed, ChannelFull):
            return False
        return True

    def is_first(self, kind: type) -> bool:
        """Whether it says this for the first time: once is never too much."""
        is_first = kind not in self._heard
        self._heard.add(kind)
        return is_first

    def take_dump(self, number: int, text: str) -> None:
        """An answer to a dump request; one that nobody asked for is thrown away."""
        asked = self.dumps.pop(number, None)
        if asked is not None and not asked.done():
            asked.set_result(text)

    def take_receipt(self, number: int, refusal: str) -> None:
        """An answer to a message for it; one that nobody waits for is thrown away."""
        asked = self.letters.pop(number, None)
        if asked is not None and not asked.done():
            asked.set_result(refusal)

    def clear_stack(self) -> None:
        """Forget what the worker wrote of its stack before."""
        os.ftruncate(self._stack, 0)
        # The worker shares our offset: it would write behind a gap of zeros.
        os.lseek(self._stack, 0, os.SEEK_SET)

    def take_stack(self) -> str:
        """What the worker's fault handler wrote of its stack, once."""
        stack = os.pread(self._stack, _STACK_BYTES, 0).decode(errors="replace")
        self.clear_stack()
        return stack

    def close(self) -> None:
        """Give up the descriptors, after the process was reaped."""
        for asked in (*self.dumps.values(), *self.letters.values()):
            asked.cancel()
        self.channel.close()
        self.process.close()
        os.close(self._stack)


def record_file(record: Mapping[str, object]) -> int:
    """A descriptor from which a worker reads its boot record."""
    text = json.dumps(record).encode()
    descriptor = anonymous_file("tercio-boot")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
