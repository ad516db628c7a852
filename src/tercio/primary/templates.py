"""Run the templates of the generations, and have them fork. Decides nothing.

A fork is first the template's business, which says its number, then a child of ours, since we adopt
the children of those who end. Then it gets from us over its own channel what a worker that is
started inherits. Until then messages for it are kept here.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from tercio.core import commands, events, inputs
from tercio.core.model import WorkerId
from tercio.dataplane.segment import anonymous_file
from tercio.errors import ProtocolError, SpawnFailed
from tercio.primary.footprints import Footprints
from tercio.primary.journal import Journal
from tercio.primary.launching import Launching
from tercio.primary.worker_process import WorkerProcess, record_file
from tercio.system import passing
from tercio.system.adoption import adopt
from tercio.system.channel import Channel
from tercio.system.memory import Footprint
from tercio.system.process import ChildProcess, spawn

LaunchTemplate = Callable[[commands.StartTemplate], Launching]

_PATIENCE: Final = 10.0  # seconds for a fork, which takes some milliseconds
_MOST_NOTES: Final = 20
_LAST_READS: Final = 4


@dataclass(eq=False)
class Fork:
    """A worker that was asked for, and is not a process that we know yet."""

    command: commands.Spawn
    launching: Launching
    channel: socket.socket
    messages: list[Mapping[str, object]] = field(default_factory=list)
    is_killed: bool = False


class TemplateProcess:
    """One template, from its spawn until it was reaped."""

    def __init__(self, generation: int, process: ChildProcess, control: socket.socket) -> None:
        self.generation = generation
        self.process = process
        self.control = control
        self.channel = Channel(control)  # what it says; orders go through the socket itself
        self.forks: dict[str, Fork] = {}  # by the name of the worker
        self.forked = 0
        self.is_ready = False


class Templates:
    """The templates that live."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        tell: Callable[[inputs.Input], None],
        launch: LaunchTemplate,
        watch: Callable[[WorkerProcess], None],
    ) -> None:
        """``launch`` says what a template is started with; ``watch`` takes a worker that lives."""
        self.living: dict[int, TemplateProcess] = {}
        self._loop = loop
        self._journal = journal
        self._tell = tell
        self._launch = launch
        self._watch = watch

    def pids(self) -> set[int]:
        """The processes that are ours to reap one by one."""
        return {template.process.pid for template in self.living.values()}

    @property
    def is_forking(self) -> bool:
        """Whether a child that nobody knows may be a worker that will be told of."""
        return any(template.forks for template in self.living.values())

    def describe(self, footprints: Footprints, now: float) -> list[dict[str, object]]:
        """What `status` shows of each."""
        return [
            self._describe(template, footprints.get(template.process.pid), now)
            for _, template in sorted(self.living.items())
        ]

    def _describe(
        self, template: TemplateProcess, footprint: Footprint | None, now: float
    ) -> dict[str, object]:
        return {
            "generation": template.generation,
            "pid": template.process.pid,
            "is_ready": template.is_ready,
            "uptime": now - template.process.started,
            "forked": template.forked,
            "rss_bytes": footprint.rss if footprint else None,
            "pss_bytes": footprint.pss if footprint else None,
            "shared_bytes": footprint.rss - footprint.uss if footprint else None,
        }

    def start(self, command: commands.StartTemplate) -> None:
        """Start one; that it cannot be is told like an end."""
        try:
            with ExitStack() as undo:
                self._start(command, undo)
                undo.pop_all()
        except (SpawnFailed, OSError) as error:
            status = f"could not be started: {error}"
            self._tell(inputs.TemplateEnded(command.generation, status))

    def end(self, generation: int) -> None:
        """Kill it, and all that its import has started."""
        if (template := self.living.get(generation)) is not None:
            template.process.kill()

    def fork(self, command: commands.Spawn, launching: Launching) -> None:
        """Have a worker forked. Raises `OSError` if it cannot be asked for."""
        template = self.living.get(command.generation)
        if template is None:
            self._tell(inputs.NotForked(command.worker))
            return
        name = str(command.worker)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                passing.send(template.control, name.encode() + b"\n", [theirs.fileno()])
            except OSError:
                ours.close()
                if template.process.has_ended():
                    self._tell(inputs.NotForked(command.worker))
                    return
                raise
        template.forks[name] = fork = Fork(command, launching, ours)
        self._loop.call_later(_PATIENCE, self._lose_patience, template, name, fork)

    def keep_for(self, who: WorkerId, message: Mapping[str, object]) -> None:
        """Pass a message on once the worker is there, if it is on its way."""
        if (fork := self._find(who)) is not None:
            fork.messages.append(message)

    def kill_fork(self, who: WorkerId) -> None:
        """End a worker that is on its way as soon as it is there."""
        if (fork := self._find(who)) is not None:
            fork.is_killed = True

    def close(self) -> None:
        """Kill what is left. Only a forced stop leaves anything."""
        for template in self.living.values():
            template.process.kill()
            for fork in template.forks.values():
                fork.channel.close()

    def _find(self, who: WorkerId) -> Fork | None:
        name = str(who)
        return next((t.forks[name] for t in self.living.values() if name in t.forks), None)

    def _start(self, command: commands.StartTemplate, undo: ExitStack) -> None:
        launching = self._launch(command)
        ours, theirs = socket.socketpair()
        undo.enter_context(ours)
        with theirs:
            boot = record_file({**launching.record, "channel": theirs.fileno()})
            try:
                process = spawn(
                    [*launching.argv, str(boot)],
                    env=launching.environ,
                    cwd=launching.cwd,
                    pass_fds=[*launching.descriptors, theirs.fileno(), boot],
                    identity=launching.identity,
                )
            finally:
                os.close(boot)
        undo.callback(process.end)
        template = TemplateProcess(command.generation, process, ours)
        self._loop.add_reader(ours.fileno(), self._read, template)
        undo.callback(self._loop.remove_reader, ours.fileno())
        self._loop.add_reader(process.fileno(), self._ended, template)
        self.living[command.generation] = template

    def _read(self, template: TemplateProcess) -> None:
        """Take what a template says; it has run user code, so nothing is taken on trust."""
        try:
            messages = template.channel.receive()
            for message in messages:
                self._take(template, message)
        except ProtocolError as error:
            self._give_up(template, f"said what is no message, killing it: {error}")
            return
        if template.channel.closed and not messages:
            self._give_up(template, "closed its channel to the primary; killing it")

    def _give_up(self, template: TemplateProcess, note: str) -> None:
        self._loop.remove_reader(template.control.fileno())
        if not template.process.has_ended():
            self._journal.publish(events.TemplateWarning(template.generation, note))
            template.process.kill()

    def _lose_patience(self, template: TemplateProcess, name: str, fork: Fork) -> None:
        if template.forks.get(name) is fork:
            self._give_up(template, f"has not forked worker {name} within {_PATIENCE:g} s: killed")

    def _take(self, template: TemplateProcess, message: Mapping[str, object]) -> None:
        match message:
            case {"type": "loaded", "threads": list() as threads, "notes": list() as notes}:
                template.is_ready = True
                self._tell(
                    inputs.TemplateLoaded(
                        template.generation,
                        tuple(str(name)[:64] for name in threads[:1000]),
                        tuple(str(note) for note in notes[:_MOST_NOTES]),
                    )
                )
            case {
                "type": "failed",
                "stage": str(stage),
                "error": str(error),
                "traceback": str(traceback),
            }:
                self._tell(inputs.TemplateFailed(template.generation, stage, error, traceback))
            case {"type": "forked", "worker": str(name), "pid": int(pid)}:
                if (fork := template.forks.pop(name, None)) is not None:
                    self._adopt(template, fork, pid)
            case {"type": "refused", "worker": str(name), "error": str(error)}:
                if (fork := template.forks.pop(name, None)) is not None:
                    fork.channel.close()
                    self._tell(inputs.SpawnRefused(fork.command.worker, error))
            case _:
                raise ProtocolError(f"a message of an unknown kind {str(message)[:80]!r}")

    def _adopt(self, template: TemplateProcess, fork: Fork, pid: int) -> None:
        who = fork.command.worker
        try:
            with ExitStack() as undo:
                undo.enter_context(fork.channel)
                process = adopt(pid)
                undo.callback(process.end)
                worker = self._equip(fork, process, undo)
                self._watch(worker)
                undo.pop_all()
        except (SpawnFailed, OSError) as error:
            self._tell(inputs.SpawnRefused(who, str(error)))
            return
        template.forked += 1
        for message in fork.messages:
            worker.send(message)
        if fork.is_killed:
            worker.was_killed = True
            process.kill()

    def _equip(self, fork: Fork, process: ChildProcess, undo: ExitStack) -> WorkerProcess:
        """Give a fork what a worker that is started inherits."""
        stack = anonymous_file("tercio-stack")
        undo.callback(os.close, stack)
        passed = list(dict.fromkeys([*fork.launching.descriptors, stack]))
        record = {**fork.launching.record, "channel": -1, "stack": stack, "passed": passed}
        boot = record_file(record)
        try:
            passing.send(fork.channel, b"B", [*passed, boot])
        finally:
            os.close(boot)
        command = fork.command
        return WorkerProcess(command.worker, command.seat, process, Channel(fork.channel), stack)

    def _ended(self, template: TemplateProcess) -> None:
        """The process is gone: sweep up its group, hear its last words, take its status."""
        self._loop.remove_reader(template.process.fileno())
        template.process.kill_group()
        self._loop.remove_reader(template.control.fileno())
        with suppress(ProtocolError):
            for _ in range(_LAST_READS):
                for message in template.channel.receive():
                    self._take(template, message)
        status = template.process.reap()
        del self.living[template.generation]
        self._tell(inputs.TemplateEnded(template.generation, str(status)))
        for fork in template.forks.values():
            # A fork that had begun ends with this.
            fork.channel.close()
            self._tell(inputs.NotForked(fork.command.worker))
        template.forks.clear()
        template.channel.close()
        template.process.close()
