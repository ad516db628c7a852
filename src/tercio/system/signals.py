"""Name signals, and give a child a clean set of them: nothing blocked, nothing ignored.

A blocked or ignored signal survives `exec`. A cluster started by `nohup`, by a shell script with
`&` (which ignores SIGINT and SIGQUIT) or from a thread pool that blocks signals would hand its
deafness down to every worker.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Python ignores these two itself; subprocess (`restore_signals`) resets them in the child.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}

_EARLY = {
    signal.SIGINT,  # Python would make a traceback of it
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
}
_ENDINGS = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}


def name(number: int) -> str:
    """``SIGTERM`` for 15, ``SIGRTMIN+3`` for a real-time signal, ``signal 99`` for no signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first, last = getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1)
        return f"SIGRTMIN+{number - first}" if first < number < last else f"signal {number}"


def hold_early() -> None:
    """Let signals wait that would do harm to a primary without handlers; that outlasts `exec`.

    One that ends the process may end it, and so needs no holding. But the kernel throws away what
    PID 1 has no handler for, unless it is blocked: there a stop waits too.
    """
    is_first = os.getpid() == 1
    signal.pthread_sigmask(signal.SIG_BLOCK, _EARLY | _ENDINGS if is_first else _EARLY)


def let_early_endings_through() -> None:
    """From here on Ctrl-C ends this process without a traceback, as long as nobody handles it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() != 1:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)


def unblock_all() -> None:
    """Block nothing in this thread: the first line of a process that may have inherited a mask."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextmanager
def clean_for_child() -> Iterator[None]:
    """Around a spawn: what the caller blocks or ignores does not reach the child.

    Main thread only, as Python sets handlers there only. On Linux CPython starts children by
    `vfork` and itself blocks every signal until the child has reset the parent's handlers; the
    child then gets the mask that the caller had, so the caller's is emptied meanwhile. A signal
    that was blocked and pending is therefore delivered now; handlers must not raise. Elsewhere
    CPython forks, and a handler of the parent could run in the child and write to the parent's
    wake-up descriptor: there everything is blocked, and the child has to call `unblock_all`.
    """
    child_must_unblock = sys.platform != "linux"
    ignored = [
        number
        for number in signal.valid_signals() - _IGNORED_BY_PYTHON
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        # `exec` keeps "ignored" but turns "caught" into the default: catch it for the moment.
        # Unlike SIG_DFL this leaves no instant in which the signal could hurt the caller.
        signal.signal(number, _do_nothing)
    mask = signal.valid_signals() if child_must_unblock else ()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass
