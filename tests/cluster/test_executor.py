"""What a worker does to its own process, group or channel harms nobody but itself."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.harness import DEFAULT_APP, Cluster

APP = """
import ctypes, gc, os, select, time

LINE = b'{"type":"unblocked","seconds":1}\\n'

def channel():
    # The descriptor that leads to the primary. No application should look for it.
    gc.unfreeze()  # what a start made is frozen, and not listed
    (link,) = (o for o in gc.get_objects() if type(o).__name__ == "Link")
    return link._channel.fileno()

def shout(seconds, lines=LINE):
    descriptor, until = channel(), time.monotonic() + seconds
    while time.monotonic() < until:
        select.select([], [descriptor], [], 0.1)
        try:
            os.write(descriptor, lines)
        except BlockingIOError:
            pass

def leave_a_shouting_child():
    if ctypes.CDLL(None).fork() == 0:  # not os.fork: nothing of Python's is run in the child
        os.set_blocking(channel(), True)
        shout(15, LINE * 100)
        os._exit(0)
    time.sleep(0.3)
    os._exit(9)

def leave_the_group():
    os.setpgid(0, os.getpgid(os.getppid()))

ROUTES = {
    "/crash": lambda: ctypes.string_at(0),
    "/deaf": lambda: os.close(channel()),
    "/leave": leave_the_group,
    "/child": leave_a_shouting_child,
    "/shout": lambda: shout(2.5),
}
"""

_BODY = '    body = f"'
assert _BODY in DEFAULT_APP
TEXT = APP + DEFAULT_APP.replace(_BODY, f'    ROUTES.get(scope["path"], str)()\n{_BODY}')


@contextmanager
def requesting(cluster: Cluster, path: str) -> Iterator[None]:
    """Ask for ``path`` and wait for no answer: there may be none."""
    with socket.create_connection(("127.0.0.1", cluster.port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield


def slowest_status(cluster: Cluster, seconds: float) -> float:
    """How long the primary took to answer, the worst time within ``seconds``."""
    slowest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        asked = time.monotonic()
        cluster.status()
        slowest = max(slowest, time.monotonic() - asked)
    return slowest


def test_a_child_that_writes_to_its_dead_parents_channel_holds_nobody(cluster: Cluster) -> None:
    cluster.write_app(TEXT)
    cluster.start("-w", "1")
    with requesting(cluster, "/child"):
        died = cluster.wait("WorkerDied")
    assert died["status"] == "exited with 9"
    cluster.wait("WorkerServing", 2)
    assert slowest_status(cluster, 0.5) < 2.0


@pytest.mark.alone
def test_a_worker_that_says_too_much_is_cut_short_and_counted(cluster: Cluster) -> None:
    cluster.write_app(TEXT)
    cluster.start("-w", "1")
    with requesting(cluster, "/shout"):
        cluster.wait("WorkerUnblocked")
        assert slowest_status(cluster, 1.5) < 1.0
        told = cluster.wait(lambda e: "left out" in e["text"])
    assert "worker 0.1: said " in told["text"]
    assert len(cluster.of("WorkerUnblocked")) < 200
    assert cluster.get().status == 200


def test_a_worker_that_left_its_group_is_killed_all_the_same(cluster: Cluster) -> None:
    cluster.write_app(TEXT)
    cluster.start("-w", "1")
    assert cluster.get("/leave").status == 200
    cluster.tercio("stop", "--now")
    assert cluster.wait_end() == 143, cluster.story()
    assert cluster.first("WorkerLeft")["status"] == "killed by SIGKILL"


def test_a_worker_that_closed_its_channel_is_replaced(cluster: Cluster) -> None:
    cluster.write_app(TEXT)
    cluster.start("-w", "1")
    assert cluster.get("/deaf").status == 200
    cluster.signal(signal.SIGUSR1)  # who waits for orders keeps the channel open
    assert "closed its channel" in cluster.wait("WorkerWarning")["text"]
    assert cluster.wait("WorkerDied")["status"] == "killed by SIGKILL"
    cluster.wait("WorkerServing", 2)
    assert cluster.get().status == 200


def test_the_python_stack_of_a_crash_is_shown_and_kept(cluster: Cluster) -> None:
    cluster.write_app(TEXT)
    cluster.start("-w", "1")
    with requesting(cluster, "/crash"):
        died = cluster.wait("WorkerDied")
    assert died["status"] == "killed by SIGSEGV"
    stack = cluster.first("WorkerStack")["stack"]
    assert stack.startswith("Fatal Python error: Segmentation fault")
    assert "in string_at" in stack
    assert cluster.status()["slots"][0]["last_traceback"] == stack
    assert sum("Fatal Python error" in line for line in cluster.lines) == 1
