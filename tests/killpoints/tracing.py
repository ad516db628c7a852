"""End a process by SIGKILL before the n-th instruction of the code that it shares data by.

A store into shared memory is one instruction of Python's machine, so between any two stores there
is a point. What happens inside a call of C is one step here; `scripts/chaos` kills there by strace.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import tercio

_SOURCE: Final = Path(tercio.__file__).parent
PLACES: Final = (
    str(_SOURCE / "dataplane"),
    str(_SOURCE / "engines" / "embedded"),
    str(Path(__file__).with_name("counting.py")),
)
"""Where instructions count."""

Trace = Callable[[FrameType, str, object], object]


def count(action: Callable[[], None]) -> int:
    """How many instructions an action takes."""
    counted = 0

    def step() -> None:
        nonlocal counted
        counted += 1

    _traced(action, step)
    return counted


def die_at(number: int, action: Callable[[], None]) -> None:
    """Do it, and be killed before instruction ``number`` (from 1); return if there are fewer."""
    left = number

    def step() -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    _traced(action, step)


def _traced(action: Callable[[], None], step: Callable[[], None]) -> None:
    def inside(frame: FrameType, event: str, _: object) -> object:
        if event == "opcode":
            step()
        return inside

    def enter(frame: FrameType, event: str, _: object) -> Trace | None:
        if not frame.f_code.co_filename.startswith(PLACES):
            return None
        frame.f_trace_opcodes = True
        return inside

    before = sys.gettrace()
    # Python 3.12 asks for instructions only if a frame wanted them before it began to trace.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(enter)  # type: ignore[arg-type]
    try:
        action()
    finally:
        sys.settrace(before)
