"""Carry out the supervisor's commands on real processes. Decides nothing.

What comes of a command comes back as an input, through `tell`.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, assert_never

from tercio.core import commands, events, inputs
from tercio.core.commands import Command
from tercio.core.model import WorkerId
from tercio.dataplane.segment import anonymous_file
from tercio.errors import ProtocolError, SpawnFailed
from tercio.primary.jobs import JobBoard, JobNews
from tercio.primary.journal import Journal
from tercio.primary.launching import Launching
from tercio.primary.messages import Letter, Receipt, input_of
from tercio.primary.templates import LaunchTemplate, Templates
from tercio.primary.worker_process import WorkerProcess, record_file
from tercio.system import cgroup, memory
from tercio.system.channel import Channel
from tercio.system.process import spawn
from tercio.system.stacksignal import STACK_SIGNAL

_log = logging.getLogger("tercio")

_STACK_WAIT: Final = 0.5  # seconds for a worker's fault handler to have written its stack
_CRASHES: Final = (
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT,
)  # fmt: skip
"""What ends a process for a fault in C code. The fault handler writes the stack before."""

_END_WAIT: Final = 1.0  # seconds from the end of a worker's channel to that of the worker
_LAST_READS: Final = 4  # each takes more than a socket holds; a child may go on writing


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a process had begun when it ended, and what it had given away before."""

    requests: int = 0
    websockets: int = 0
    moved: int = 0
    """Connections that went on with others."""


Tell = Callable[[inputs.Input], None]
Launch = Callable[[commands.Spawn], Launching]


class Executor:
    """The world as the supervisor reaches it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        tell: Tell,
        launch: Launch,
        release_seat: Callable[[int], Unfinished],
        launch_template: LaunchTemplate,
    ) -> None:
        self.workers: dict[WorkerId, WorkerProcess] = {}
        self.exit_code: asyncio.Future[int] = loop.create_future()
        self._loop = loop
        self._journal = journal
        self._tell = tell
        self._launch = launch
        self._release_seat = release_seat
        self.templates = Templates(loop, journal, tell, launch_template, self._watch)
        self._oom_kills = cgroup.limits().oom_kills
        self.jobs = JobBoard()
        self.on_letter: Callable[[Letter], None] = lambda letter: None

    def carry_out(self, command: Command) -> None:
        """Do what the supervisor wants. What fails, fails alone."""
        try:
            self._carry_out(command)
        except Exception:
            _log.exception("this could not be carried out: %r", command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case commands.Spawn():
                self._spawn(command)
            case commands.StartTemplate():
                self.templates.start(command)
            case commands.EndTemplate():
                self.templates.end(command.generation)
            case commands.Serve():
                self.send(command.worker, {"type": "serve"})
            case commands.Park():
                self.send(command.worker, {"type": "park"})
            case commands.Drain():
                message = {
                    "type": "drain",
                    "timeout": command.limit,
                    "reason": command.reason,
                    "close_code": command.close_code,
                    "close_at_once": command.close_at_once,
                    "heirs": command.heirs,
                }
                self.send(command.worker, message)
            case commands.Kill():
                self._kill(command.worker)
            case commands.ShowStack():
                self._show_stack(command.worker)
            case commands.Publish():
                self._journal.publish(command.event)
            case commands.Exit():
                if not self.exit_code.done():
                    self.exit_code.set_result(command.code)
            case _:
                assert_never(command)

    def pids(self) -> set[int]:
        """The processes that are ours to reap one by one."""
        return {worker.process.pid for worker in self.workers.values()} | self.templates.pids()

    async def stack_of(self, worker: WorkerProcess) -> str:
        """The stack of a worker that answers nothing, by way of its fault handler."""
        worker.clear_stack()
        if not STACK_SIGNAL or not worker.process.send_signal(STACK_SIGNAL):
            return ""
        await asyncio.sleep(_STACK_WAIT)
        if worker.id not in self.workers:
            return "the worker ended meanwhile\n"
        return worker.take_stack() or "the worker wrote no stack: is it stopped (SIGSTOP)?\n"

    def look_for_ended(self) -> None:
        """Reap what has ended, where the kernel has no pidfd to wait on."""
        for worker in tuple(self.workers.values()):
            if worker.process.pidfd is None and worker.process.has_ended():
                self._ended(worker)

    def close(self) -> None:
        """Kill what is left. Only a forced stop leaves anything."""
        for worker in self.workers.values():
            worker.process.kill()
        self.templates.close()

    def _spawn(self, command: commands.Spawn) -> None:
        try:
            with ExitStack() as undo:
                self._start(command, undo)
                undo.pop_all()  # it lives: all of it is kept
        except Exception as error:
            if not isinstance(error, SpawnFailed | OSError):
                _log.exception("worker %s could not be started", command.worker)
            self._tell(inputs.SpawnRefused(command.worker, str(error) or repr(error)))

    def _start(self, command: commands.Spawn, undo: ExitStack) -> None:
        """Start a process and watch it; ``undo`` takes it all back."""
        launching = self._launch(command)
        if command.is_forked:
            self.templates.fork(command, launching)
            return
        ours, theirs = socket.socketpair()
        undo.enter_context(ours)
        with theirs:
            stack = anonymous_file("tercio-stack")
            undo.callback(os.close, stack)
            boot = record_file({**launching.record, "channel": theirs.fileno(), "stack": stack})
            try:
                process = spawn(
                    [*launching.argv, str(boot)],
                    env=launching.environ,
                    cwd=launching.cwd,
                    pass_fds=[*launching.descriptors, theirs.fileno(), stack, boot],
                    inherit_stdin=launching.has_terminal,
                    own_group=not launching.has_terminal,
                    identity=launching.identity,
                )
            finally:
                os.close(boot)
        undo.callback(process.end)
        self._watch(WorkerProcess(command.worker, command.seat, process, Channel(ours), stack))

    def _watch(self, worker: WorkerProcess) -> None:
        """Hear what it says and when it ends. On an error it is not watched at all."""
        self._loop.add_reader(worker.channel.fileno(), self._read, worker)
        if worker.process.pidfd is not None:
            try:
                self._loop.add_reader(worker.process.fileno(), self._ended, worker)
            except BaseException:
                self._loop.remove_reader(worker.channel.fileno())
                raise
        self.workers[worker.id] = worker

    def _read(self, worker: WorkerProcess) -> None:
        """Take what a worker says; it is never trusted to be well-formed."""
        worker.channel.flush()
        try:
            messages = worker.channel.receive()
        except ProtocolError as error:
            self._loop.remove_reader(worker.channel.fileno())
            note = events.WorkerWarning(worker.id, f"sent what is no message, killing it: {error}")
            self._journal.publish(note)
            self._kill(worker.id)
            return
        if worker.channel.closed and not messages:
            self._loop.remove_reader(worker.channel.fileno())
            self._expect_end(worker)
        for message in messages:
            self._take(worker, message)
        if worker.allowance.refused or worker.letter_allowance.refused:
            # Reading it takes time, too: the rest waits in its channel until the second is over.
            self._loop.remove_reader(worker.channel.fileno())

    def _expect_end(self, worker: WorkerProcess) -> None:
        """A channel ends with its process. One that lives on can be told nothing any more."""
        if not worker.is_end_expected:
            worker.is_end_expected = True
            self._loop.call_later(_END_WAIT, self._end_unreachable, worker)

    def _end_unreachable(self, worker: WorkerProcess) -> None:
        if worker.id not in self.workers or worker.process.has_ended():
            return
        note = "closed its channel to the primary, a descriptor that is not the application's"
        self._journal.publish(events.WorkerWarning(worker.id, f"{note}; killing it"))
        self._kill(worker.id)

    def _hear_last_words(self, worker: WorkerProcess) -> None:
        """What was sent before the end can still be read, also after a send has failed."""
        self._loop.remove_reader(worker.channel.fileno())
        try:
            for _ in range(_LAST_READS):
                for message in worker.channel.receive():
                    self._take(worker, message)
        except ProtocolError as error:
            self._say(worker, events.WorkerWarning(worker.id, str(error)))
        self._tell_refused(worker)

    def _say(self, worker: WorkerProcess, event: events.Event) -> None:
        """Publish what a worker wants told, within its allowance."""
        if self._is_allowed(worker):
            self._journal.publish(event)

    def _is_allowed(self, worker: WorkerProcess) -> bool:
        if worker.allowance.take(self._loop.time()):
            return True
        if worker.allowance.refused == 1:
            self._loop.call_later(1.0, self._listen_again, worker)
        return False

    def _listen_again(self, worker: WorkerProcess) -> None:
        if worker.id in self.workers:
            self._tell_refused(worker)
            self._loop.add_reader(worker.channel.fileno(), self._read, worker)

    def _tell_refused(self, worker: WorkerProcess) -> None:
        if refused := worker.allowance.tell_refused():
            note = f"said {refused} things too many within a second; they are left out"
            self._journal.publish(events.WorkerWarning(worker.id, note))
        if refused := worker.letter_allowance.tell_refused():
            note = f"sent its launcher {refused} messages too many within a second; they are lost"
            self._journal.publish(events.WorkerWarning(worker.id, note))

    def _take(self, worker: WorkerProcess, message: Mapping[str, object]) -> None:
        try:
            meaning = input_of(worker.id, message)
        except ProtocolError as error:
            self._say(worker, events.WorkerWarning(worker.id, str(error)))
            return
        if isinstance(meaning, events.Event):
            if isinstance(meaning, events.WorkerBlocked):
                worker.culprit = meaning.culprit
            self._say(worker, meaning)
        elif isinstance(meaning, tuple):
            worker.take_dump(*meaning)
        elif isinstance(meaning, Receipt):
            worker.take_receipt(meaning.number, meaning.refusal)
        elif isinstance(meaning, JobNews):
            if self._is_allowed(worker):
                self.jobs.take(meaning)
        elif isinstance(meaning, Letter):
            self._pass_on(worker, meaning)
        elif worker.is_first(type(meaning)) or self._is_allowed(worker):
            match meaning:
                case inputs.Cut():
                    worker.has_reported_cut = True
                case inputs.Ready():
                    # Now: a moment later it serves, and what it takes is no measure of the next.
                    meaning = inputs.Ready(worker.id, memory.uss(worker.process.pid))
            self._tell(meaning)

    def _pass_on(self, worker: WorkerProcess, letter: Letter) -> None:
        """Hand a message to the program that launched the cluster, unless there are too many."""
        if worker.letter_allowance.take(self._loop.time()):
            self.on_letter(letter)
        elif worker.letter_allowance.refused == 1:
            self._loop.call_later(1.0, self._listen_again, worker)

    def _ended(self, worker: WorkerProcess) -> None:
        """The process is gone: sweep up its group, hear its last words, take its status."""
        if worker.process.pidfd is not None:
            self._loop.remove_reader(worker.process.fileno())
        # What it forked goes first: before the number is free, and before it can say more.
        worker.process.kill_group(signal.SIGKILL)
        self._hear_last_words(worker)
        status = worker.process.reap()
        number = status.signal if status else None
        stack = self._last_stack(worker, number)
        del self.workers[worker.id]
        worker.close()
        left = self._release_seat(worker.seat)
        if worker.has_reported_cut:
            left = Unfinished(moved=left.moved)
        self._tell(
            inputs.Exited(
                worker.id,
                str(status),
                note=self._cause(worker, number),
                in_flight=left.requests,
                websockets=left.websockets,
                traceback=stack,
                moved=left.moved,
            )
        )

    def _last_stack(self, worker: WorkerProcess, number: int | None) -> str:
        """Publish what the fault handler wrote that nobody read; return it if it is of a crash."""
        has_crashed = number in _CRASHES
        worker.is_stack_wanted |= has_crashed
        stack = self._publish_stack(worker)
        return stack if has_crashed else ""

    def _cause(self, worker: WorkerProcess, number: int | None) -> str:
        if number != signal.SIGKILL or worker.was_killed:
            return ""
        if cgroup.limits().oom_kills > self._oom_kills:
            self._oom_kills += 1  # one each: it may have ended several at once
            return "the kernel's OOM killer ended it: the cgroup is out of memory"
        return ""

    def send(self, who: WorkerId, message: Mapping[str, object]) -> None:
        """Tell a worker; one that cannot be told anything ends."""
        worker = self.workers.get(who)
        if worker is None:
            self.templates.keep_for(who, message)
            return
        # One that takes no message is about to end, or stuck with a full queue.
        if worker.send(message):
            return
        if worker.channel.closed:
            self._expect_end(worker)
        else:
            self._kill(who)

    def _kill(self, who: WorkerId) -> None:
        worker = self.workers.get(who)
        if worker is None:
            self.templates.kill_fork(who)
            return
        worker.was_killed = True
        worker.process.kill()

    def _show_stack(self, who: WorkerId) -> None:
        worker = self.workers.get(who)
        if worker is None or not STACK_SIGNAL:
            return
        worker.clear_stack()
        worker.is_stack_wanted = worker.process.send_signal(STACK_SIGNAL)
        self._loop.call_later(_STACK_WAIT, self._publish_stack, worker)

    def _publish_stack(self, worker: WorkerProcess) -> str:
        """Once, when the fault handler had its time, or when the worker is gone before that."""
        stack = worker.take_stack() if worker.is_stack_wanted else ""
        worker.is_stack_wanted = False
        if stack:
            self._journal.publish(events.WorkerStack(worker.id, stack))
        return stack
