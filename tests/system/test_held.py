"""Steps that nobody comes between, and what may be asked without giving the lock away."""

import gc
import operator
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain

import pytest

from tercio.system import held

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll and dup3")


def changes(step: Callable[[], held.Step], times: int) -> int:
    """How often another thread came between the steps around ``step``."""
    count = [0]
    found = 0
    is_over = threading.Event()

    def compute() -> None:
        while not is_over.is_set():
            count[0] += 1

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(times):
            seen: list[int] = []
            before = map(seen.append, map(operator.itemgetter(0), (count,)))
            behind = map(seen.append, map(operator.itemgetter(0), (count,)))
            assert held.undisturbed(before, step(), behind)
            found += seen[0] != seen[1]
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(usual)
    return found


def test_no_other_thread_runs_between_held_calls() -> None:
    with socket.socket() as one, socket.socket() as two:
        fd, copy = one.fileno(), two.fileno()
        calls = lambda: held.differs(held.dup3, fd, copy, os.O_CLOEXEC, than=copy)  # noqa: E731
        assert changes(calls, 20_000) == 0
    assert changes(lambda: map(time.sleep, (0.0,)), 200) > 0  # which gives the lock away


class _Cycle:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)  # gives the lock away


def _litter() -> held.Step:
    """Make garbage, and what has it collected where any allocation may do that."""
    cycles = [_Cycle()]
    return chain(map(list.clear, (cycles,)), filter(None, map(len, map(set, [()] * 50))))


def test_garbage_is_not_collected_in_between() -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(5, 1, 1)
    try:
        assert changes(_litter, 500) == 0
        assert gc.isenabled()
        gc.disable()
        assert held.undisturbed(())
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)


def test_what_stops_leaves_the_rest_undone() -> None:
    done: list[int] = []
    first, third = map(done.append, (1,)), map(done.append, (3,))
    assert not held.undisturbed(first, held.differs(abs, -2, than=3), third)
    assert done == [1]
    assert held.undisturbed(held.differs(list, than=[]))  # without an argument, too
    assert held.undisturbed(held.is_another(id, 1, than=id(1))) is False  # equal, another object


def test_readable_are_those_with_bytes_whose_peer_is_there() -> None:
    pairs = [socket.socketpair() for _ in range(4)]
    (_, silent), (says, says_end), (leaves, leaves_end), (speaks, both_end) = pairs
    says.send(b"x")
    leaves.close()
    speaks.send(b"x")
    speaks.shutdown(socket.SHUT_WR)
    ends = [each.fileno() for each in (silent, says_end, leaves_end, both_end)]
    assert held.readable(ends) == {says_end.fileno()}
    assert held.readable([]) == set()
    assert held.readable([1 << 20]) == set()
    for pair in pairs:
        for each in pair:
            each.close()


def test_a_thread_that_sleeps_is_told_from_one_that_computes() -> None:
    ready = threading.Event()
    numbers: list[int] = []
    release = threading.Lock()
    release.acquire()

    def sleep() -> None:
        numbers.append(threading.get_native_id())
        ready.set()
        with release:
            pass

    thread = threading.Thread(target=sleep)
    thread.start()
    ready.wait()
    try:
        state = held.ThreadState(numbers[0])
        deadline = time.monotonic() + 15
        while not state.is_asleep():
            assert time.monotonic() < deadline
        state.close()
        mine = held.ThreadState(threading.get_native_id())
        assert not mine.is_asleep()
        mine.close()
    finally:
        release.release()
        thread.join()
