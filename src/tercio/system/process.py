"""Start a process in a group of its own, signal it, and learn how it ended.

A child stays a child until `reap` has taken its status: up to then its number cannot be given to
another process, so neither a signal to it nor one to its group can hit a stranger. Who is started,
stopped or restarted, and when, is decided elsewhere.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tercio.errors import SpawnFailed
from tercio.system import signals
from tercio.system.identity import Identity


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: by an exit code, by a signal, or unknown (somebody else reaped it)."""

    code: int | None
    signal: int | None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {signals.name(self.signal)}"
        if self.code is not None:
            return f"exited with {self.code}"
        return "ended, and its exit status was taken by other code"


class ChildProcess:
    """A process that this one started. `fileno()` becomes readable when it has ended."""

    __slots__ = ("_leads", "_pidfd", "_status", "pid", "started")

    def __init__(self, pid: int, pidfd: int | None, *, leads: bool = True) -> None:
        self.pid = pid
        self._leads = leads  # a group of its own; else it is in ours
        self.started = time.monotonic()
        self._pidfd = pidfd
        self._status: ExitStatus | None = None

    def __repr__(self) -> str:
        return f"<ChildProcess {self.pid}: {self._status or 'not reaped'}>"

    @property
    def pidfd(self) -> int | None:
        """The descriptor that stands for the process; None where the kernel has none (macOS)."""
        return self._pidfd

    @property
    def status(self) -> ExitStatus | None:
        """What `reap` learnt; None until then."""
        return self._status

    def fileno(self) -> int:
        if self._pidfd is None:
            raise ValueError(f"pid {self.pid} has no pidfd; wait for SIGCHLD and call reap()")
        return self._pidfd

    def send_signal(self, number: int) -> bool:
        """Send a signal to the process alone; False if it has ended."""
        if self._status is not None:
            return False
        try:
            if sys.platform == "linux" and self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill_group(self, number: int = signal.SIGKILL) -> bool:
        """Signal the process and what it forked; False once it was reaped or its group is empty.

        To sweep up what an ended child left behind, call this between `has_ended` and `reap`:
        the unreaped child keeps the group's number from being given to a stranger.
        """
        if self._status is not None:
            return False
        if not self._leads:
            return self.send_signal(number)  # its group is ours, too
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False  # macOS answers EPERM for a group in which only zombies are left
        return True

    def kill(self) -> bool:
        """End the process and its group with SIGKILL; False if neither was there.

        It is signalled by itself, too: a process may have joined another group.
        """
        group = self.kill_group(signal.SIGKILL)
        try:
            return self.send_signal(signal.SIGKILL) or group
        except PermissionError:
            return group  # it became somebody else, whom only root may end

    def has_ended(self) -> bool:
        """Look without reaping. (Without `waitid`, macOS before 3.13, looking reaps.)"""
        if self._status is not None or not hasattr(os, "waitid"):
            return self.reap() is not None
        try:
            return self._waitid(os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def reap(self) -> ExitStatus | None:
        """Take the status of exactly this child if it has ended; the same answer ever after."""
        if self._status is None:
            try:
                self._status = self._take_status()
            except ChildProcessError:  # ignored SIGCHLD or a waitpid(-1) in other code
                self._status = ExitStatus(None, None)
        return self._status

    def end(self) -> None:
        """Kill, reap and close, of a process that was only just started: it takes an instant."""
        self.kill()
        with suppress(ChildProcessError):  # reaped by other code
            os.waitpid(self.pid, 0)
        self._status = ExitStatus(None, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Close the pidfd; take it out of the event loop first."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _take_status(self) -> ExitStatus | None:
        if not hasattr(os, "waitid"):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == 0:
                return None
            code = os.waitstatus_to_exitcode(status)
            return ExitStatus(code, None) if code >= 0 else ExitStatus(None, -code)
        result = self._waitid(os.WEXITED | os.WNOHANG)
        if result is None:
            return None
        if result.si_code == os.CLD_EXITED:
            return ExitStatus(result.si_status, None)
        return ExitStatus(None, result.si_status)  # CLD_KILLED, CLD_DUMPED

    def _waitid(self, options: int) -> os.waitid_result | None:
        if sys.platform == "linux" and self._pidfd is not None:
            return os.waitid(os.P_PIDFD, self._pidfd, options)
        return os.waitid(os.P_PID, self.pid, options)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    pass_fds: Sequence[int] = (),
    inherit_stdin: bool = False,
    own_group: bool = True,
    identity: Identity | None = None,
) -> ChildProcess:
    """Start a program as the leader of a new process group, with signals as if freshly booted.

    It gets the standard descriptors and `pass_fds`, under the same numbers, and no others; its
    input is /dev/null unless `inherit_stdin`. Without `own_group` it stays in ours: a terminal lets
    only its foreground group read. With `identity` it runs as somebody else.

    Raises SpawnFailed, also when the program or the directory is not there. When this returns, the
    group exists and the program can no longer fail to start, though for an instant `/proc` still
    shows our own name.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "spawn() belongs on the main thread: the kernel takes the end of the thread that "
            "started a process for the death of its parent (PR_SET_PDEATHSIG)"
        )
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Inherited "ignored" tells the kernel to throw the exit status of our children away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        with signals.clean_for_child():
            started = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=None if inherit_stdin else subprocess.DEVNULL,
                close_fds=True,
                pass_fds=pass_fds,
                process_group=0 if own_group else None,
                user=identity.uid if identity else None,
                group=identity.gid if identity else None,
                extra_groups=identity.groups if identity else None,
            )
    except OSError as error:
        raise SpawnFailed(_reason(error, argv, cwd)) from error
    except (ValueError, subprocess.SubprocessError) as error:
        raise SpawnFailed(f"cannot start {argv[0]!r}: {error}") from error
    # From here on only ChildProcess waits for it: a Popen that believes in a running child would
    # warn when it is collected and leave it to a later Popen, which then steals the status.
    started.returncode = 0
    try:
        return ChildProcess(started.pid, _pidfd_open(started.pid), leads=own_group)
    except OSError as error:
        ChildProcess(started.pid, None, leads=own_group).end()
        raise SpawnFailed(_reason(error, argv, cwd)) from error


def _pidfd_open(pid: int) -> int | None:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):  # old kernel, or a strict seccomp filter
            return None
        raise


def _reason(error: OSError, argv: Sequence[str], cwd: str) -> str:
    if error.filename == cwd and error.filename != argv[0]:
        return f"cannot start {argv[0]!r} in {cwd!r}: {error.strerror}"
    limits = {
        errno.EAGAIN: "RLIMIT_NPROC (ulimit -u) or the cgroup's pids.max",
        errno.ENOMEM: "the memory of the machine or of the cgroup",
        errno.EMFILE: "RLIMIT_NOFILE (ulimit -n)",
        errno.ENFILE: "fs.file-max",
        errno.E2BIG: "the size of arguments and environment",
    }
    limit = limits.get(error.errno or 0)
    hint = f" (the limit is {limit})" if limit else ""
    return f"cannot start {argv[0]!r}: {error.strerror}{hint}"
