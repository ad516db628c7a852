"""Take something, and give it back when the one who wanted it was cancelled meanwhile.

A cancelled call has happened or not; who was to have the answer is gone. An item that was taken so
would be lost, a lock held for nobody.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from tercio.errors import StateError

_log = logging.getLogger("tercio.state")

R = TypeVar("R")

_giving_back: Final[set[asyncio.Task[None]]] = set()  # the loop itself keeps no task alive


async def take(
    taking: Coroutine[Any, Any, R | None], give_back: Callable[[R], Awaitable[object]]
) -> R | None:
    """The answer of ``taking``. If we are cancelled, an answer that comes is given back."""
    task = asyncio.ensure_future(taking)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            returning = asyncio.ensure_future(_return(task, give_back))
            _giving_back.add(returning)
            returning.add_done_callback(_giving_back.discard)
        raise


async def all_given_back() -> None:
    """Return when nothing is under way; for the end of a process."""
    loop = asyncio.get_running_loop()
    here = [task for task in _giving_back if task.get_loop() is loop]
    if here:
        await asyncio.wait(here)


async def _return(
    task: "asyncio.Task[R | None]", give_back: Callable[[R], Awaitable[object]]
) -> None:
    try:
        answer = await task
        if answer is not None:
            await give_back(answer)
    except StateError as error:
        _log.warning("what a cancelled call took from the shared state is lost: %s", error)
