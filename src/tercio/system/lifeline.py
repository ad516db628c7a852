"""End a worker, and all that it forked, when its primary is gone.

Two guards, because each has a hole. The life-line is a pipe whose writing end only the primary
holds; a thread of the worker sees its end and kills the whole process group at once. That thread
cannot run while C code holds the GIL, so the kernel's own notice (`PR_SET_PDEATHSIG`) ends such a
worker, but one second later: it reaches the worker alone, and were it first, what the worker
forked would be left behind. (What was forked by a worker that holds the GIL is left behind.)
"""

import os
import signal
import threading
from collections.abc import Callable

from tercio.errors import ExitCode
from tercio.system import libc


def end_own_group() -> None:
    """SIGKILL this process and, if it leads a process group, everything in the group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(fd: int, action: Callable[[], None] = end_own_group) -> threading.Thread:
    """Call `action` in a thread of its own once nobody holds the writing end of pipe `fd`."""
    os.set_blocking(fd, True)  # raises here, in the caller, if the descriptor is not open
    thread = threading.Thread(target=_wait_for_end, args=(fd, action), name="tercio-lifeline")
    thread.daemon = True
    thread.start()
    return thread


def set_parent_death(primary_pid: int) -> bool:
    """Die one second after the primary did, even if no Python code can run any more.

    The kernel sends SIGHUP, whose handler is libc's `alarm`, and SIGALRM ends the process after
    `alarm(SIGHUP)` = 1 s. Ends the process at once if the primary is already gone.

    A later `signal.signal(SIGHUP)`, `loop.add_signal_handler(SIGHUP)` or `faulthandler.register`
    on SIGHUP replaces the handler and so disarms this guard, as do a Python handler for SIGALRM
    and `alarm(0)`; `signal.getsignal` cannot see it. A stopped process acts when it is
    continued, as the kernel does if the primary's end leaves its group without a shell.
    The notice is tied to the *thread* that spawned this process, is not inherited by a fork, and
    is cleared by `setuid` and by executing a set-uid program: call it after those.
    False where the kernel has no such notice (macOS).
    """
    libc.handle_with_alarm(signal.SIGHUP)
    armed = libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != primary_pid:  # died before prctl; not "== 1": a subreaper may have adopted
        os._exit(ExitCode.WORKER_BOOT_FAILED)
    return armed


def _wait_for_end(fd: int, action: Callable[[], None]) -> None:
    try:
        while os.read(fd, 1):
            pass  # the primary writes nothing, yet a byte is not its death
    except OSError:
        pass  # closed under us by code that closes what it does not know: unwatched is as orphaned
    action()
