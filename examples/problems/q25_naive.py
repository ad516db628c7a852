"""Q25, wrong twice: a parent that replaces its workers when it is told to (SIGUSR2).

python -m examples.problems.q25_naive                 it ends all, then starts others
python -m examples.problems.q25_naive --textbook      one after the other, the new one first

It prints its port, and a line after each reload.
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

from examples.problems import parent

WORKERS = 4
BOOT = 0.5  # seconds that the import of an application takes
GRACE = 0.5  # seconds that the textbook's parent gives an old worker before it kills it


def work(listener: socket.socket, ready: Callable[[], None]) -> None:
    """Be a worker."""
    parent.serve(listener, ready, BOOT)


def all_at_once(living: list[int], start: Callable[[], int]) -> list[int]:
    """The naive way: nobody is left until the new ones serve."""
    for pid in living:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    return [start() for _ in living]


def one_by_one(living: list[int], start: Callable[[], int]) -> list[int]:
    """The textbook's way: a new one serves before an old one is told to go.

    Its old worker stops listening and, when the grace is over, is killed with the connections
    that clients still keep.
    """
    fresh = []
    for pid in living:
        fresh.append(start())
        time.sleep(GRACE)
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    return fresh


def say(text: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until told to end (SIGTERM)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--textbook", action="store_true")
    options = parser.parse_args()
    signals = {signal.SIGUSR2, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    listener = parent.listen()

    def start() -> int:
        pid, told = parent.fork(unblocked, listener)
        assert parent.serves(told)
        return pid

    unblocked = partial(_unblocked, signals)
    living = [start() for _ in range(WORKERS)]
    say(str(listener.getsockname()[1]))
    reload = one_by_one if options.textbook else all_at_once
    while signal.sigwait(signals) == signal.SIGUSR2:
        living = reload(living, start)
        say("reloaded")
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _unblocked(
    signals: set[signal.Signals], listener: socket.socket, ready: Callable[[], None]
) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    work(listener, ready)


if __name__ == "__main__":
    main()
