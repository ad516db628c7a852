import errno
import gc
import json
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.errors import SpawnFailed
from tercio.system import limits, proc, process, signals
from tercio.system.process import ExitStatus

from .processes import (
    Nursery,
    nursery_that_leaves_nothing,
    output_of,
    read_all,
    read_line,
    wait_end,
    wait_readable,
)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with nursery_that_leaves_nothing() as nursery:
        yield nursery


# How a process ends


def test_an_exit_code_is_reported(nursery: Nursery) -> None:
    status = wait_end(nursery.start("/bin/sh", "-c", "exit 3"))
    assert ExitStatus(3, None) == status
    assert str(status) == "exited with 3"


def test_a_signal_is_reported_by_name(nursery: Nursery) -> None:
    child = nursery.start("/bin/sleep", "300")
    assert child.send_signal(signal.SIGKILL)
    status = wait_end(child)
    assert ExitStatus(None, signal.SIGKILL) == status
    assert str(status) == "killed by SIGKILL"


def test_a_running_child_has_no_status_and_an_ended_one_keeps_it(nursery: Nursery) -> None:
    child = nursery.start("/bin/sleep", "300")
    assert child.reap() is None
    assert not child.has_ended()
    child.send_signal(signal.SIGTERM)
    first = wait_end(child)
    assert first is child.reap() is child.status
    assert child.has_ended()


def test_a_status_taken_by_other_code_is_unknown_but_the_child_has_ended(nursery: Nursery) -> None:
    child = nursery.start("/bin/true")
    os.waitpid(child.pid, 0)
    assert child.has_ended()
    assert ExitStatus(None, None) == child.reap()
    assert "taken by other code" in str(child.status)


def test_a_reaped_child_is_never_signalled(nursery: Nursery) -> None:
    child = nursery.start("/bin/true")
    wait_end(child)
    assert not child.send_signal(signal.SIGTERM)
    assert not child.kill_group(signal.SIGTERM)


def test_no_later_popen_steals_the_status(nursery: Nursery) -> None:
    child = nursery.start("/bin/sh", "-c", "exit 9")
    wait_readable(child.fileno())
    gc.collect()  # a Popen that is collected alive leaves its child to the next Popen
    subprocess.run(["/bin/true"], check=True)
    assert ExitStatus(9, None) == child.reap()


def test_a_child_without_pidfd_is_signalled_and_reaped_by_number(nursery: Nursery) -> None:
    started = nursery.start("/bin/sleep", "300")
    child = process.ChildProcess(started.pid, None)
    assert child.pidfd is None
    assert child.reap() is None
    assert child.send_signal(signal.SIGTERM)
    wait_readable(started.fileno())
    assert child.has_ended()
    assert ExitStatus(None, signal.SIGTERM) == child.reap()
    with pytest.raises(ValueError, match="no pidfd"):
        child.fileno()
    started.reap()


def test_a_child_that_joined_another_group_is_killed(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    child = nursery.python(
        "import os, signal, sys; os.setpgid(0, os.getpgid(os.getppid()));"
        "os.write(int(sys.argv[1]), b'left\\n'); signal.pause()",
        str(writing),
        pass_fds=[writing],
    )
    os.close(writing)
    assert read_line(reading) == "left"
    os.close(reading)
    assert not child.kill_group(signal.SIGKILL)
    assert child.kill()
    assert child.kill()  # asked again before it was reaped: nothing changes
    assert ExitStatus(None, signal.SIGKILL) == wait_end(child)
    assert not child.kill()


# What a child starts with


def test_a_child_leads_a_group_of_its_own_in_our_session(nursery: Nursery) -> None:
    child = nursery.start("/bin/sleep", "300")
    assert os.getpgid(child.pid) == child.pid
    assert os.getsid(child.pid) == os.getsid(0)


def test_a_child_gets_the_given_descriptors_and_no_others(nursery: Nursery) -> None:
    leaked, other = os.pipe()
    os.set_inheritable(leaked, True)
    code = (
        "import os, sys\n"
        "out = int(sys.argv[1])\n"
        "fds = [fd for fd in range(200) if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "os.write(out, f'{fds} {os.readlink(\"/proc/self/fd/0\")}'.encode())"
    )
    reading, writing = os.pipe()
    child = nursery.python(code, str(writing), pass_fds=[writing])
    os.close(writing)
    seen = read_all(reading)
    wait_end(child)
    os.close(leaked)
    os.close(other)
    assert seen == f"{[0, 1, 2, writing]} /dev/null"


def test_standard_input_is_inherited_on_request(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        child = nursery.start("/bin/sh", "-c", 'read n; exit "$n"', inherit_stdin=True)
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, reading):
            os.close(descriptor)
    os.write(writing, b"5\n")
    os.close(writing)
    assert ExitStatus(5, None) == wait_end(child)


def test_a_child_blocks_and_ignores_nothing_whatever_we_do(nursery: Nursery) -> None:
    ignored = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTTOU)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    reading, writing = os.pipe()
    try:
        child = nursery.start(
            "/bin/sh",
            "-c",
            f"exec grep -E '^Sig(Blk|Ign|Pnd)' /proc/self/status >/dev/fd/{writing}",
            pass_fds=[writing],
        )
        ours = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        handlers = {number: signal.getsignal(number) for number in ignored}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    os.close(writing)
    found = [int(line.split()[1], 16) for line in read_all(reading).splitlines()]
    wait_end(child)
    assert found == [0, 0, 0]
    assert ours >= {signal.SIGTERM, signal.SIGUSR1}
    assert set(handlers.values()) == {signal.SIG_IGN}


def test_a_child_of_a_parent_that_blocks_sigterm_dies_of_sigterm(nursery: Nursery) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child = nursery.start("/bin/sleep", "300")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    child.send_signal(signal.SIGTERM)
    assert ExitStatus(None, signal.SIGTERM) == wait_end(child)


def test_an_ignored_sigchld_does_not_lose_the_exit_status(nursery: Nursery) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert ExitStatus(4, None) == wait_end(nursery.start("/bin/sh", "-c", "exit 4"))
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_storm_of_signals_while_we_spawn_harms_nobody(nursery: Nursery) -> None:
    caught: list[int] = []
    handler = signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
    done = threading.Event()

    def storm() -> None:
        while not done.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        spawned = [nursery.start("/bin/true") for _ in range(20)]
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR1, handler)
    assert caught
    assert {ExitStatus(0, None)} == {wait_end(child) for child in spawned}


def test_spawning_from_a_thread_is_refused(nursery: Nursery) -> None:
    caught: list[BaseException] = []

    def attempt() -> None:
        try:
            nursery.start("/bin/true")
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert ["main thread" in str(error) for error in caught] == [True]


# What cannot be started


def test_a_missing_program_and_a_missing_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SpawnFailed, match=r"'/no/program': No such file"):
        process.spawn(["/no/program"], env={}, cwd=str(tmp_path))
    with pytest.raises(SpawnFailed, match=r"'/bin/true' in '/no/directory': No such file"):
        process.spawn(["/bin/true"], env={}, cwd="/no/directory")


def test_a_limit_that_was_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpawnFailed, match="size of arguments and environment"):
        process.spawn(["/bin/true", "x" * 10_000_000], env={}, cwd=str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(SpawnFailed, match="RLIMIT_NOFILE"):
            process.spawn(["/bin/true"], env={}, cwd=str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_string_that_the_kernel_cannot_take_is_a_failed_spawn(tmp_path: Path) -> None:
    with pytest.raises(SpawnFailed, match="null byte"):
        process.spawn(["/bin/true", "a\0b"], env={}, cwd=str(tmp_path))


# Groups and orphans


def test_what_an_ended_child_left_behind_is_swept_up_before_it_is_reaped(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    child = nursery.start(
        "/bin/sh", "-c", f"sleep 300 & echo $! >/dev/fd/{writing}; exit 0", pass_fds=[writing]
    )
    os.close(writing)
    left_behind = os.pidfd_open(int(read_line(reading)))
    wait_readable(child.fileno())
    assert child.has_ended()
    assert child.kill_group(signal.SIGKILL)
    assert ExitStatus(0, None) == child.reap()
    wait_readable(left_behind)
    os.close(left_behind)
    os.close(reading)


STRANGERS = """
import json, os, select, subprocess, sys
from tercio.system import orphans, process

def leave_orphans(count):
    # Each is reparented to us, and then ends.
    script = 'import os\\nfor _ in range(%d):\\n if os.fork() == 0: os._exit(os.read(0, 1) != b"")'
    reading, writing = os.pipe()
    subprocess.run([sys.executable, '-c', script % count], stdin=reading, check=True)
    os.close(reading)
    ours = set(map(int, open(f'/proc/self/task/{os.getpid()}/children').read().split()))
    fds = [os.pidfd_open(pid) for pid in ours - known.keys()]
    os.close(writing)
    for fd in fds:
        assert select.select([fd], [], [], 30)[0]
    return len(fds)

known = {}
result = {'subreaper': orphans.become_subreaper(), 'none': orphans.reap_strangers(known)}
first = process.spawn(['/bin/sh', '-c', 'exit 7'], env={}, cwd='/')
known[first.pid] = first
select.select([first], [], [], 30)
result['orphans'] = leave_orphans(3)
result['behind a known one'] = orphans.reap_strangers(known)
result['again'] = orphans.reap_strangers(known)
result['known'] = str(first.reap())
del known[first.pid]
result['more orphans'] = leave_orphans(2)
result['alone'] = orphans.reap_strangers(known)
result['left'] = open(f'/proc/self/task/{os.getpid()}/children').read()
os.write(int(sys.argv[1]), json.dumps(result).encode())
"""


def test_a_subreaper_reaps_strangers_and_never_a_known_child(nursery: Nursery) -> None:
    result = json.loads(output_of(nursery, STRANGERS))
    assert result == {
        "subreaper": True,
        "none": 0,
        "orphans": 3,
        "behind a known one": 3,
        "again": 0,
        "known": "exited with 7",
        "more orphans": 2,
        "alone": 2,
        "left": "",
    }


# Looking at a process


def test_the_state_of_a_stopped_and_of_an_ended_process(nursery: Nursery) -> None:
    # It stops itself: stopped by us, it might still have a library open that the loader maps.
    child = nursery.start("/bin/sh", "-c", "kill -STOP $$")
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    seen = proc.state(child.pid)
    assert seen is not None
    look = (seen.letter, seen.tracer, seen.threads, seen.descriptors)
    assert look == ("T", 0, 1, 3)
    child.send_signal(signal.SIGKILL)
    wait_readable(child.fileno())
    ended = proc.state(child.pid)
    assert ended is not None
    assert ended.letter == "Z"
    child.reap()
    assert proc.state(child.pid) is None


def test_a_traced_process_names_its_tracer(nursery: Nursery) -> None:
    traced = nursery.python(
        "import ctypes, os, signal\n"
        "ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME\n"
        "os.kill(os.getpid(), signal.SIGSTOP)"
    )
    os.waitid(os.P_PID, traced.pid, os.WSTOPPED | os.WNOWAIT)
    seen = proc.state(traced.pid)
    assert seen is not None
    assert ("t", os.getpid()) == (seen.letter, seen.tracer)


def test_our_own_state_counts_time_threads_and_descriptors() -> None:
    started = threading.Event()
    end = threading.Event()

    def run() -> None:
        started.set()
        end.wait()

    before = proc.state(os.getpid())
    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    after = proc.state(os.getpid())
    os.close(descriptor)
    end.set()
    thread.join()
    assert before is not None
    assert after is not None
    assert after.threads - before.threads == 1
    assert before.descriptors is not None
    assert after.descriptors == before.descriptors + 1
    assert after.cpu_seconds > 0


def test_a_description_is_safe_to_print(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    script = f"echo >/dev/fd/{writing}; sleep 300"
    child = nursery.start(
        "/bin/sh", "-c", script, "\x1b[31m\nred\u202e", "x" * 200, pass_fds=[writing]
    )
    read_line(reading)  # the kernel has its new command line once it runs
    os.close(reading)
    os.close(writing)
    text = proc.describe(child.pid)
    assert text.startswith(f"pid {child.pid} (/bin/sh -c {script} \\x1b[31m\\nred\\u202e xx")
    assert text.endswith("x…)")
    assert text.isprintable()
    assert len(text) == len(f"pid {child.pid} ()") + 80
    child.kill_group(signal.SIGKILL)
    wait_readable(child.fileno())
    assert proc.describe(child.pid) == f"pid {child.pid} (sh)"
    child.reap()
    assert proc.describe(child.pid) == f"pid {child.pid}"


# Signals and limits


def test_signals_have_names() -> None:
    assert signals.name(signal.SIGTERM) == "SIGTERM"
    assert signals.name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
    assert signals.name(999) == "signal 999"


def test_the_descriptor_limit_is_raised_to_the_hard_one(nursery: Nursery) -> None:
    code = (
        "import os, resource, sys\n"
        "from tercio.system import limits\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 900))\n"
        "result = limits.raise_nofile(), limits.raise_nofile()\n"
        "os.write(int(sys.argv[1]), repr((result, resource.getrlimit(7))).encode())"
    )
    assert output_of(nursery, code) == "((900, 900), (900, 900))"


def test_a_worker_can_be_made_the_first_to_go(nursery: Nursery) -> None:
    child = nursery.start("/bin/sleep", "300")
    assert limits.set_oom_score_adj(child.pid, 500)
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "500\n"
    child.send_signal(signal.SIGKILL)
    wait_end(child)
    assert not limits.set_oom_score_adj(child.pid, 500)


def test_a_full_process_table_is_a_failed_spawn_that_names_the_limit(nursery: Nursery) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to become a user whose processes are counted")
    code = (
        "import os, resource, sys\n"
        "from tercio.errors import SpawnFailed\n"
        "from tercio.system import process\n"
        "os.setuid(54321)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
        "try:\n process.spawn(['/bin/true'], env={}, cwd='/')\n"
        "except SpawnFailed as error:\n os.write(int(sys.argv[1]), str(error).encode())"
    )
    text = output_of(nursery, code)
    assert os.strerror(errno.EAGAIN) in text
    assert "RLIMIT_NPROC" in text
