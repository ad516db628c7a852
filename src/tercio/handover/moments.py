"""What a blocked loop is in: the step of a task, which another thread can tell from the outside.

A task's step begins and ends in C code of asyncio, which keeps the running task where anybody may
look: inside of a step the loop's thread runs the application, and no code of transports. Loops
that are turned inside a step (as `nest_asyncio` does) unset the task for what they run.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType
from typing import Any, Final, cast

from tercio.system.held import Step, is_another


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A step in which a loop was found."""

    step: "asyncio.Task[Any]"
    lasts: Callable[[], Step]
    """Makes a step, in the sense of `system.held`, that stops the others if this one is over."""


class Moments:
    """Of one loop. For any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> Moment | None:
        """None: the loop is outside of tasks, waiting or reading or about to begin one."""
        task = _running(self._loop)
        if task is None:
            return None
        step = cast("asyncio.Task[Any]", task)
        return Moment(step, lambda: is_another(_running, self._loop, than=step))


def _function_in_c() -> Callable[[object], object]:
    """What returns the running task of a loop."""
    if isinstance(asyncio.current_task, BuiltinFunctionType):
        return cast("Callable[[object], object]", asyncio.current_task)
    # Python 3.11 has it in Python, above a dict that C code fills.
    tasks: Mapping[object, object] = cast("Any", asyncio.tasks)._current_tasks
    return tasks.get


_running: Final = _function_in_c()
