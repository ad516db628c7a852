"""Keep tasks of ours out of ``asyncio.all_tasks()``.

"Cancel all tasks but me" is a common way to clean up, in shut-downs and in handlers; it must end
neither the worker nor a drain that other requests rely on.
"""

import asyncio
import weakref
from asyncio.tasks import _unregister_task
from typing import Any, TypeVar

_hidden: "weakref.WeakSet[asyncio.Task[Any]]" = weakref.WeakSet()

_T = TypeVar("_T")


def hide(task: "asyncio.Task[_T]") -> "asyncio.Task[_T]":
    """Take the task out of the list. The caller keeps a reference: the loop has a weak one."""
    _unregister_task(task)
    _hidden.add(task)
    return task


def hidden(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    """Those that live, for a dump."""
    return {task for task in list(_hidden) if task.get_loop() is loop and not task.done()}
