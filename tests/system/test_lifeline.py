import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.errors import ExitCode
from tercio.system import lifeline
from tercio.system.process import ExitStatus

from .processes import (
    PATIENCE,
    Nursery,
    nursery_that_leaves_nothing,
    read_all,
    read_line,
    wait_end,
    wait_readable,
)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with nursery_that_leaves_nothing() as nursery:
        yield nursery


# The primary starts one worker and waits; the worker arms its guards, forks a grandchild, reports
# two process numbers and goes on, both by the code of the test.
PRIMARY = """
import os, signal, sys
from tercio.system import process
lifeline, held = os.pipe()
worker, output = sys.argv[1], int(sys.argv[2])
process.spawn(
    [sys.executable, '-c', worker, str(os.getpid()), str(lifeline), str(output)],
    env=dict(os.environ), cwd=os.getcwd(), pass_fds=[lifeline, output],
)
signal.pause()
"""
WORKER = """
import ctypes, os, signal, sys
from tercio.system import lifeline, signals
signals.unblock_all()
primary, line, output = map(int, sys.argv[1:])
assert lifeline.set_parent_death(primary)
lifeline.watch(line)
grandchild = os.fork()
if grandchild == 0:
    while True:
        signal.pause()
report = b'%d %d\\n' % (os.getpid(), grandchild)
"""
# The report already comes from C code with the GIL held, and no other thread gets it in between.
# A read that a signal handler interrupts is resumed, so no bytecode runs ever after.
HOLD_THE_GIL = """
silence, held = os.pipe()
sys.setswitchinterval(1000)
c = ctypes.PyDLL(None)
c.write(output, report, len(report))
c.read(silence, ctypes.create_string_buffer(1), 1)
"""
WAIT = """
os.write(output, report)
while True:
    signal.pause()
"""
STOP = """
os.write(output, report)
os.kill(os.getpid(), signal.SIGSTOP)
while True:
    signal.pause()
"""


class Cluster:
    """A real primary with one worker and a grandchild, each watched by a pidfd."""

    def __init__(self, work: str) -> None:
        reading, writing = os.pipe()
        # In a session of its own, as behind a service manager: whoever adopts the worker is then
        # outside of it, and the worker's group becomes an orphaned one.
        self.primary = subprocess.Popen(
            [sys.executable, "-c", PRIMARY, WORKER + work, str(writing)],
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        self.pids = [int(pid) for pid in read_line(reading).split()]
        os.close(reading)
        self.worker, self.grandchild = (os.pidfd_open(pid) for pid in self.pids)

    def kill_primary(self) -> None:
        self.primary.kill()
        self.primary.wait(PATIENCE)

    def end(self) -> None:
        self.primary.kill()
        self.primary.wait(PATIENCE)
        for descriptor in (self.worker, self.grandchild):
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            except ProcessLookupError:
                pass  # as it should be
            os.close(descriptor)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    cluster = Cluster(request.param)
    yield cluster
    cluster.end()


@pytest.mark.parametrize("cluster", [pytest.param(WAIT, id="wait")], indirect=True)
def test_a_worker_and_what_it_forked_end_with_their_primary(cluster: Cluster) -> None:
    cluster.kill_primary()
    wait_readable(cluster.worker)
    wait_readable(cluster.grandchild)


@pytest.mark.parametrize("cluster", [pytest.param(HOLD_THE_GIL, id="hold_the_gil")], indirect=True)
def test_a_worker_that_can_run_no_python_ends_a_second_after_its_primary(cluster: Cluster) -> None:
    started = time.monotonic()
    cluster.kill_primary()
    wait_readable(cluster.worker, seconds=2.5)
    assert time.monotonic() - started > 0.9  # the notice leaves the life-line its time


def wait_stopped(pid: int) -> None:
    """Wait until every thread has stopped: a half-stopped group is not continued by the kernel."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:  # not our child, so nothing tells us
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        states = {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}
        if states == {"T"}:
            return
    raise AssertionError("the worker did not stop")


@pytest.mark.parametrize("cluster", [pytest.param(STOP, id="stop")], indirect=True)
def test_a_stopped_worker_is_continued_and_ends_with_its_primary(cluster: Cluster) -> None:
    wait_stopped(cluster.pids[0])
    cluster.kill_primary()
    wait_readable(cluster.worker)
    wait_readable(cluster.grandchild)


def test_a_worker_whose_primary_died_before_it_was_armed_ends_at_once(nursery: Nursery) -> None:
    stranger = nursery.start("/bin/sleep", "300")
    late = nursery.python(
        "import sys\n"
        "from tercio.system import lifeline\n"
        "lifeline.set_parent_death(int(sys.argv[1]))",
        str(stranger.pid),
    )
    assert ExitStatus(ExitCode.WORKER_BOOT_FAILED, None) == wait_end(late)


def test_a_hang_up_from_outside_ends_a_worker_by_alarm_not_at_once(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    child = nursery.python(
        "import os, signal, sys\n"
        "from tercio.system import lifeline\n"
        "lifeline.set_parent_death(os.getppid())\n"
        "os.write(int(sys.argv[1]), b'armed\\n')\n"
        "while True: signal.pause()",
        str(writing),
        pass_fds=[writing],
    )
    os.close(writing)
    read_line(reading)
    os.close(reading)
    child.send_signal(signal.SIGHUP)
    assert ExitStatus(None, signal.SIGALRM) == wait_end(child)


def test_the_action_runs_once_and_only_when_the_last_writer_is_gone() -> None:
    reading, writing = os.pipe()
    second = os.dup(writing)
    calls: list[bool] = []
    closed = threading.Event()
    thread = lifeline.watch(reading, lambda: calls.append(closed.is_set()))
    os.write(writing, b"a byte is not the end")
    os.close(writing)
    closed.set()
    os.close(second)
    thread.join(PATIENCE)
    os.close(reading)
    assert calls == [True]
    assert thread.daemon


def test_a_descriptor_that_is_not_open_is_refused_at_once() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        lifeline.watch(reading)


def test_a_process_that_leads_no_group_ends_alone(nursery: Nursery) -> None:
    line, held = os.pipe()
    reading, writing = os.pipe()
    code = (
        "import os, signal, sys\n"
        "from tercio.system import lifeline\n"
        "lifeline.watch(int(sys.argv[1]))\n"
        "os.write(int(sys.argv[2]), b'watching\\n')\n"
        "while True: signal.pause()"
    )
    script = f'"$0" -c "$1" {line} {writing}; echo "shell saw $?" >/dev/fd/{writing}; exit 7'
    shell = nursery.start("/bin/sh", "-c", script, sys.executable, code, pass_fds=[line, writing])
    os.close(writing)
    os.close(line)
    assert read_line(reading) == "watching"
    os.close(held)
    assert read_all(reading) == f"shell saw {128 + signal.SIGKILL}\n"
    assert ExitStatus(7, None) == wait_end(shell)
