"""Begin the rescue of connections where it is wanted and possible, and say where it is not."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tercio.config import Config
from tercio.dataplane.scoreboard import Row
from tercio.system import proc
from tercio.worker import stacks
from tercio.worker.clipping import ERROR_LIMIT, clip_line
from tercio.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from tercio.handover.mover import Mover
    from tercio.handover.rescue import Rescue


async def begin(
    mover: "Mover",
    row: Row,
    config: Config,
    note: Callable[[str, str], None],
    watchdog: Watchdog,
) -> "Rescue | None":
    """Called in the loop, in a task. ``note`` takes a level and a line for the cluster's events."""
    if config.rescue == "off":
        return None
    from tercio.handover.detaching import CannotDetach
    from tercio.handover.rescue import Rescue

    rescue = Rescue(mover, row, config.rescue_after, MainThread(watchdog), note)
    try:
        await rescue.start(asyncio.get_running_loop())
    except (CannotDetach, OSError) as error:  # descriptors may have run out
        # Elsewhere than on Linux nobody expects it.
        level = "warning" if sys.platform == "linux" else "info"
        note(level, f"no connection is rescued when the event loop is blocked: {error}")
        return None
    return rescue


class MainThread:
    """A `rescue.Witness`."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._ident = threading.main_thread().ident or 0
        self._watchdog = watchdog

    def is_excused(self) -> bool:
        frame = sys._current_frames().get(self._ident)
        state = proc.state(os.getpid())
        return (frame is not None and stacks.is_debugged(frame)) or bool(state and state.tracer)

    def culprit(self) -> str:
        frame = sys._current_frames().get(self._ident)
        return clip_line(stacks.culprit(frame), ERROR_LIMIT) if frame is not None else "a call"

    def rely(self, *, on_us: bool) -> None:
        self._watchdog.is_helped = on_us

    def hurry(self) -> None:
        self._watchdog.hurry()
