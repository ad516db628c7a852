"""Q22, wrong twice: a parent that starts a worker for each one that ends.

python -m examples.problems.q22_naive --seconds 3      the application is broken: each start fails
python -m examples.problems.q22_naive --throttle       the textbook's way: it counts, and gives up

Prints what happened, as JSON.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

from examples.problems import parent

WORKERS = 8
MOST = 5  # ends in a minute; after one more the textbook's parent exits
DELAY = 1.0  # seconds that the textbook's parent waits before each start


def crash(listener: socket.socket, ready: Callable[[], None]) -> None:
    """Stand for an application whose import fails."""
    os._exit(3)


def restart_at_once(seconds: float) -> dict[str, float]:
    """How many workers are started within some seconds while none can live."""
    listener = parent.listen()
    living: dict[int, int] = {}
    starts = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while len(living) < WORKERS:
            pid, told = parent.fork(crash, listener)
            living[pid] = told
            starts += 1
        pid, _ = os.wait()
        os.close(living.pop(pid))
    for pid in living:
        os.waitpid(pid, 0)
    return {"starts": starts, "starts_a_second": starts / seconds}


def throttle(crashes: int) -> dict[str, float]:
    """How many workers are left, of 8 healthy ones, after some of them were ended at once."""
    listener = parent.listen()
    living = []
    for _ in range(WORKERS):
        pid, told = parent.fork(parent.serve, listener)
        assert parent.serves(told)
        living.append(pid)
    for pid in random.sample(living, crashes):
        os.kill(pid, signal.SIGKILL)
    ends: deque[float] = deque()
    gave_up = False
    while not gave_up and (crashes := crashes - 1) >= 0:
        pid, _ = os.wait()
        living.remove(pid)
        ends.append(time.monotonic())
        while ends[0] < time.monotonic() - 60:
            ends.popleft()
        if len(ends) > MOST:
            gave_up = True  # "Too many restarts, stopping cluster"
            break
        time.sleep(DELAY)
        pid, told = parent.fork(parent.serve, listener)
        assert parent.serves(told)
        living.append(pid)
    healthy = len(living)
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"gave_up": gave_up, "healthy_workers_stopped": healthy if gave_up else 0}


def main() -> None:
    """Run one of them, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--throttle", action="store_true")
    parser.add_argument("--crashes", type=int, default=6)
    options = parser.parse_args()
    found = throttle(options.crashes) if options.throttle else restart_at_once(options.seconds)
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
