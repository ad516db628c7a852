"""Lend seats to processes that are no workers: Celery tasks, shells, offloaded calls.

Such a process maps what workers map, so it must be of the same user. Its seat is free again when
the process has ended, which the kernel tells by its pidfd; where there is none, when it closes its
connection, which it keeps for that. One that could not map what it was given, and so has not
confirmed it, gives the seat back with its connection.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tercio import __version__
from tercio.core import events
from tercio.core.event import Event
from tercio.core.health import HOLD_LIMIT
from tercio.dataplane.scoreboard import LAYOUT, Field
from tercio.errors import ControlError
from tercio.primary.setup import Setup
from tercio.settings import Settings
from tercio.system import proc

MOST_PER_MESSAGE: Final = 200
"""Descriptors in one message; Linux takes 253."""

_SLOW: Final = 5.0  # seconds of one write; those of a large queue on a busy disk take one


@dataclass(frozen=True, slots=True)
class Attachment:
    """One process that is attached. ``pid`` is None outside of our pid namespace."""

    seat: int
    pid: int | None
    pidfd: int | None
    record: dict[str, object]
    descriptors: tuple[int, ...]


class Attachments:
    """The seats after the workers'."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        setup: Setup,
        settings: Callable[[], Settings],
        publish: Callable[[Event], object],
    ) -> None:
        """``settings`` are those of now; it raises `ControlError` when nobody may attach."""
        self._loop = loop
        self._setup = setup
        self._settings = settings
        self._publish = publish
        self._free = list(setup.attached_seats)
        self._taken: dict[int, Attachment] = {}
        self._accused: dict[int, int] = {}  # seats with the moment since which they held it

    def attach(self, pid: int | None) -> Attachment:
        """Lend a seat to a process. Raises `ControlError` when none is free."""
        settings = self._settings()
        if not self._free:
            raise ControlError(
                f"{len(self._taken)} processes are attached already: raise --attached"
            )
        pidfd = _open_pidfd(pid)
        if pid is not None and hasattr(os, "pidfd_open") and pidfd is None:
            raise ControlError("the process that asks to attach has ended")
        seat = self._free.pop(0)
        shared = self._setup.shared
        record: dict[str, object] = {
            "version": __version__,
            "layout": LAYOUT,
            "name": self._setup.name,
            "seat": seat,
            "shared": shared.to_record(),
            "numbers": list(shared.descriptors),
            "directory": self._setup.claim.path,
            "host": self._setup.host.hex(),
            "state": self._setup.state_record(),
            "options": self._setup.options_record(settings),
        }
        attachment = Attachment(seat, pid, pidfd, record, shared.descriptors)
        self._taken[seat] = attachment
        if pidfd is not None:
            self._loop.add_reader(pidfd, self._ended, attachment)
        return attachment

    def connection_closed(self, attachment: Attachment, *, is_confirmed: bool) -> None:
        """Take the seat back, unless the process still lives with what it has mapped.

        ``is_confirmed``: it has said that it has mapped it.
        """
        if attachment.pidfd is None or not is_confirmed:
            self._ended(attachment)

    def describe(self) -> list[dict[str, object]]:
        """For `status`."""
        return [{"pid": each.pid, "seat": each.seat} for each in self._taken.values()]

    def judge(self, now: float) -> None:
        """End who was stopped while it held the state's write lock: a Ctrl-Z, for example.

        A debugger's process is not killed, and one that is only slow is not either: that is said.
        """
        for attachment in tuple(self._taken.values()):
            row = self._setup.shared.scoreboard.row(attachment.seat)
            since = row[Field.STATE_HOLDING]
            seconds = now - since / 1e9
            if not since or seconds < HOLD_LIMIT or self._accused.get(attachment.seat) == since:
                continue
            state = None if attachment.pid is None else proc.state(attachment.pid)
            is_stopped = state is not None and state.letter == "T" and not state.tracer
            if is_stopped and attachment.pid is not None and attachment.pidfd is not None:
                self._publish(events.AttachedKilled(attachment.pid, seconds))
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(attachment.pidfd, signal.SIGKILL)
            elif seconds >= _SLOW:
                self._publish(events.AttachedHoldsState(attachment.pid, seconds))
            else:
                continue
            self._accused[attachment.seat] = since

    def close(self) -> None:
        """Forget all: the cluster ends."""
        for attachment in tuple(self._taken.values()):
            self._forget(attachment)

    def _ended(self, attachment: Attachment) -> None:
        if self._forget(attachment):
            self._setup.shared.release(attachment.seat)
            self._free.append(attachment.seat)

    def _forget(self, attachment: Attachment) -> bool:
        if self._taken.get(attachment.seat) is not attachment:
            return False
        del self._taken[attachment.seat]
        if attachment.pidfd is not None:
            self._loop.remove_reader(attachment.pidfd)
            os.close(attachment.pidfd)
        return True


def _open_pidfd(pid: int | None) -> int | None:
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
