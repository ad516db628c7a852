"""The terminal that started the cluster: whether it is still there, and that it stays usable."""

import os
import signal
import termios
from contextlib import suppress
from typing import Final

from tercio.core.events import Stopped, WorkerDied, WorkerLeft
from tercio.primary.journal import Entry, Journal

_INPUT: Final = 0


def has_terminal() -> bool:
    """Whether a controlling terminal is there; one that hung up cannot be opened."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    os.close(descriptor)
    return True


def keep_usable(journal: Journal) -> None:
    """Give the terminal back as it was whenever a worker has ended.

    A debugger that is killed at its prompt leaves a terminal that shows nothing of what is typed.
    """
    try:
        before = termios.tcgetattr(_INPUT)
    except termios.error:
        return  # no terminal: there is nothing to give back

    def restore(entry: Entry) -> None:
        if isinstance(entry.event, WorkerDied | WorkerLeft | Stopped):
            # A process in the background would be stopped for this.
            held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
            try:
                with suppress(termios.error):  # it hung up
                    termios.tcsetattr(_INPUT, termios.TCSADRAIN, before)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, held)

    journal.subscribe(restore)
