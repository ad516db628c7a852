"""Show what a worker is doing: its threads' stacks, its tasks, and the line that holds the loop."""

import asyncio
import linecache
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from tercio.servers.tasks import hidden
from tercio.worker.clipping import DUMP_LIMIT, clip
from tercio.worker.places import is_application, shown

_LOOP_ANSWERS_WITHIN: Final = 1.0  # seconds
_TASKS: Final = 500  # shown, at the most
_DEEPEST: Final = 40  # steps of indentation


def culprit(frame: FrameType) -> str:
    """``file.py:12 in handler``: the innermost line of the application, else the innermost."""
    frames = list(_outwards(frame))
    chosen = next((f for f in frames if is_application(f.f_code.co_filename)), frames[0])
    code = chosen.f_code
    return f"{shown(code.co_filename)}:{chosen.f_lineno} in {code.co_name}"


def stack(frame: FrameType) -> str:
    """A frame's stack as a traceback shows it: the innermost call last."""
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame))
    summary.reverse()
    return "".join(summary.format())


def is_in_select(frame: FrameType) -> bool:
    """Whether the loop of asyncio or uvloop waits for events: then nothing blocks it."""
    code, caller = frame.f_code, frame.f_back
    if code.co_name == "select" and caller is not None:
        return caller.f_code.co_name == "_run_once"
    # uvloop has no frame of its own: what turns it (see `turning`) is then the innermost.
    return code.co_name == "turn" and code.co_filename.endswith("turning.py")


def is_debugged(frame: FrameType) -> bool:
    """Whether a Python debugger works on this thread: whoever steps is slow on purpose."""
    if hasattr(sys, "monitoring") and sys.monitoring.get_tool(sys.monitoring.DEBUGGER_ID):
        return True
    return any(
        f.f_trace is not None or f.f_globals.get("__name__") in ("bdb", "pdb")
        for f in _outwards(frame)
    )


def is_at_prompt() -> bool:
    """Whether a debugger asks a person something in any thread of this process.

    `breakpoint()` in an import, in a handler, or in a thread that runs a WSGI application: pdb and
    what is made of it (ipdb, pdb++, pudb) wait below one of these.
    """
    return any(_is_prompt(f) for frame in sys._current_frames().values() for f in _outwards(frame))


def _is_prompt(frame: FrameType) -> bool:
    name = frame.f_code.co_name
    match frame.f_globals.get("__name__"):
        case "pdb":
            return name == "interaction"
        case "bdb":
            return name == "trace_dispatch" or name.startswith("dispatch_")
    return False


def dump(header: str, loop: asyncio.AbstractEventLoop) -> str:
    """Everything, as text. Called by another thread than the loop's; waits a second at the most.

    Tasks are looked at by the loop itself if it answers in time: while it runs, a task may change
    under the eyes of another thread. A blocked loop changes nothing.
    """
    answer: list[str] = []
    answered = threading.Event()

    def ask() -> None:
        answer.append(tasks(loop))
        answered.set()

    threads_now = threads()
    try:
        loop.call_soon_threadsafe(ask)
    except RuntimeError:  # closed: the worker is ending
        return clip(f"{header}\n\n{threads_now}", DUMP_LIMIT)
    if answered.wait(_LOOP_ANSWERS_WITHIN):
        title, listing = "Tasks", answer[0]
    else:
        title = "Tasks (the event loop does not answer; seen from outside)"
        listing = tasks(loop)
    return clip(f"{header}\n\n{threads_now}\n{title}\n{listing}", DUMP_LIMIT)


def threads() -> str:
    """The stacks of all threads, the main thread's first."""
    frames = sys._current_frames()
    known = {thread.ident: thread for thread in threading.enumerate()}
    main = threading.main_thread().ident
    text = []
    for ident in sorted(frames, key=lambda ident: (ident != main, ident)):
        thread = known.get(ident)
        name = thread.name if thread is not None else "not started by Python"
        text.append(f"Thread {name} ({ident})\n{stack(frames[ident])}")
    return "\n".join(text)


def tasks(loop: asyncio.AbstractEventLoop) -> str:
    """The tasks as a tree: below each, the tasks that it waits for."""
    alive = asyncio.all_tasks(loop) | hidden(loop)
    awaited = {task: _awaited_tasks(task) for task in alive}
    children = {child for each in awaited.values() for child in each}
    by_name = sorted(alive, key=lambda task: (task in children, task.get_name()))
    # Those with a parent follow at the end: tasks that wait for each other have no root.
    waiting = [(task, 0) for task in reversed(by_name)]
    lines: list[str] = []
    seen: set[Any] = set()
    # Not recursive: a chain of tasks may be longer than the interpreter's stack.
    while waiting and len(seen) < _TASKS:
        task, depth = waiting.pop()
        indent = "  " * min(depth, _DEEPEST)
        if task in seen:
            if depth:
                lines.append(f"{indent}Task {task.get_name()}: (see above)")
            continue
        seen.add(task)
        lines.append(f"{indent}Task {task.get_name()}: {_coroutine_name(task)}")
        lines.extend(f"{indent}  {line}" for line in _chain(task.get_coro()))
        waiting.extend((child, depth + 1) for child in reversed(awaited.get(task, [])))
    if left := len(alive - seen):
        lines.append(f"… and {left} more")
    return "\n".join(lines) + "\n"


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", None) or repr(coroutine)


def _chain(coroutine: object) -> Iterator[str]:
    """The lines at which a coroutine, and all that it awaits, wait."""
    while coroutine is not None:
        frame = next(
            (f for name in _FRAMES if (f := getattr(coroutine, name, None)) is not None), None
        )
        if frame is None:
            return
        code = frame.f_code
        yield f'File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}'
        if source := linecache.getline(code.co_filename, frame.f_lineno).strip():
            yield f"  {source}"
        coroutine = next(
            (a for name in _AWAITS if (a := getattr(coroutine, name, None)) is not None), None
        )


_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")
_AWAITS: Final = ("cr_await", "gi_yieldfrom", "ag_await")


def _awaited_tasks(task: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """The tasks that a task waits for, also those inside a ``gather``."""
    waiter = getattr(task, "_fut_waiter", None)
    if isinstance(waiter, asyncio.Task):
        return [waiter]
    children = getattr(waiter, "_children", ())
    return [child for child in children if isinstance(child, asyncio.Task) and not child.done()]
