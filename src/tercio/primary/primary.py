"""The primary: one loop in which signals, exits, messages, requests and timers become inputs.

Only the supervisor changes state, only the executor touches processes. Data goes one way:
input -> supervisor -> command -> world -> input.
"""

import asyncio
import dataclasses
import logging
import os
import random
import time
from collections import deque
from functools import partial
from itertools import chain
from typing import Final

from tercio import logs
from tercio.config import Config
from tercio.core import events, inputs
from tercio.core.cluster import Cluster
from tercio.core.commands import Command, ShowStack, Spawn, StartTemplate
from tercio.core.health import HOLD_LIMIT
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor
from tercio.dataplane.scoreboard import Field
from tercio.dataplane.tails import Tails
from tercio.errors import ConfigError, ControlError
from tercio.primary import announcement
from tercio.primary.attachments import Attachments
from tercio.primary.control import LONGEST_PATH, Control, SideDoor
from tercio.primary.executor import Executor, Unfinished
from tercio.primary.expiry import Expiry
from tercio.primary.footprints import Scales
from tercio.primary.health import health_of
from tercio.primary.journal import Journal
from tercio.primary.launch import launching_of, template_of
from tercio.primary.launching import Launching
from tercio.primary.letters import Letters
from tercio.primary.looker import Looker
from tercio.primary.looperrors import LoopErrors
from tercio.primary.offloaded import offloaded
from tercio.primary.policy import policy_of
from tercio.primary.releases import Releases
from tercio.primary.sampler import Sampler
from tercio.primary.setup import Setup
from tercio.primary.sidecar import Sidecar
from tercio.primary.signals import Signals
from tercio.primary.statistics import Statistics
from tercio.primary.status import status_of
from tercio.primary.systemd import Systemd
from tercio.primary.terminal import keep_usable
from tercio.settings import Settings, refused_changes
from tercio.system import cgroup, memory, orphans, proc, rundir

_log = logging.getLogger("tercio")

_REST: Final = 1.0  # seconds to the next look at deadlines after an input that failed
_HOLD_SLACK: Final = 0.02  # seconds, so that one look finds the limit passed
_DUMP_WAIT: Final = 5.0  # seconds for a worker to answer; then its fault handler is asked


class Primary:
    """Runs one cluster from its first worker to its last."""

    def __init__(self, setup: Setup, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self.journal = journal
        self._setup = setup
        self._loop = loop
        # Options of each reload that was asked for; a worker boots with those of its revision.
        self._revisions: dict[int, Settings] = {0: setup.settings}
        self._requests = 0
        self._dumps = 0
        config = setup.settings.config
        self._supervisor = Supervisor(
            self._policy_of(config, setup.size.workers),
            setup.size.workers,
            time.monotonic(),
            random.random,
        )
        self._releases = Releases(setup.directory)
        self._executor = Executor(
            loop, journal, self.tell, self._launch, self._release_seat, self._launch_template
        )
        self.letters = Letters(loop, lambda: self.cluster, self._executor.workers)
        self._executor.on_letter = self.letters.take
        self._sidecar = Sidecar(setup, loop, journal)
        self._scales = Scales(loop)
        self._sampler = Sampler(config, setup.shared.scoreboard)
        self._statistics = Statistics(setup.shared, journal)
        self._looker = Looker(
            loop,
            lambda: self.cluster,
            setup.shared.scoreboard,
            self._executor.send,
            [listener.slots for listener in setup.listeners if listener.slots],
            policy=config.balance,
            can_move=config.moves_connections,
        )
        self._inbox: deque[inputs.Input] = deque()
        self._is_busy = False
        self._rests_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reaps_strangers = orphans.become_subreaper() or os.getpid() == 1
        self._systemd = Systemd(journal, loop)
        self._expiry = Expiry(setup.shared.scoreboard, journal)
        if setup.launch.is_development:
            keep_usable(journal)
        self._attachments = Attachments(loop, setup, self._settings_to_attach, journal.publish)

    @property
    def cluster(self) -> Cluster:
        """What the supervisor knows."""
        return self._supervisor.cluster

    @property
    def tails(self) -> Tails | None:
        """What workers wrote at last."""
        return self._setup.shared.tails

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        setup = self._setup
        self._loop.set_exception_handler(LoopErrors())
        door = self._side_door()
        control = Control(self, self._attachments, setup.claim.control_path, door)
        await control.open()
        setup.claim.write_info(
            {
                "pid": os.getpid(),
                "app": setup.settings.config.app,
                "urls": [listener.url for listener in setup.listeners],
                "cwd": setup.launch.cwd,
            }
        )
        signals = Signals(self, self._loop)
        signals.install()
        try:
            announcement.publish(setup, self.journal)
            self._sidecar.start(partial(control.adopt, tokens=self._sidecar.tokens))
            self._sample()
            self._look_at_writers()
            self.tell(inputs.Tick())
            self._looker.start()
            return await self._executor.exit_code
        finally:
            signals.uninstall()
            self._looker.close()
            self._executor.close()
            self._attachments.close()
            if self._timer is not None:
                self._timer.cancel()
            self.letters.end()
            await control.close()
            self._sidecar.close()

    def _side_door(self) -> SideDoor | None:
        """Where processes that workers start can attach, if the control socket is not theirs."""
        setup = self._setup
        if setup.identity is None or setup.state is None or setup.identity.uid == os.geteuid():
            return None
        path = os.path.join(setup.state.path, rundir.CONTROL)
        if len(os.fsencode(path)) > LONGEST_PATH:
            text = f"{path} is too long for a socket: offloaded calls will not be in the cluster"
            self.journal.publish(events.ConfigWarning(text))
            return None

        def admits(pid: int) -> bool:
            workers = self._executor.workers.values()
            return proc.parent(pid) in {worker.process.pid for worker in workers}

        return SideDoor(path, setup.identity.uid, admits)

    def tell(self, item: inputs.Input) -> None:
        """Put an input into the inbox, and handle all that is in it unless that is being done."""
        self._inbox.append(item)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._inbox:
                for command in self._judge(self._inbox.popleft()):
                    self._executor.carry_out(command)
        finally:
            self._is_busy = False
            self._arm()
        self._looker.notice()

    def _judge(self, item: inputs.Input) -> list[Command]:
        try:
            return self._supervisor.handle(item, time.monotonic())
        except Exception:
            # A bug of ours. Facts are kept and compared with what is wanted at the next input, so
            # workers serve on; a deadline that has passed must not come back at once, though.
            _log.exception("this could not be judged: %r", item)
            self._rests_until = time.monotonic() + _REST
            return []

    # What control requests need

    async def status(self, memory_age: float) -> dict[str, object]:
        """The answer to `tercio status`; sizes may be known for ``memory_age`` seconds."""
        setup = self._setup
        children = {pid: offloaded(pid) for pid in self._executor.pids()}
        weighed = {*children, *chain(*children.values())}
        footprints = await self._scales.weigh(weighed, oldest=memory_age)
        now = time.monotonic()
        return {
            "name": setup.name,
            "pid": os.getpid(),
            "app": setup.settings.config.app,
            "listeners": [listener.url for listener in setup.listeners],
            "balance": setup.balancing.describe(setup.listeners),
            "queues": self._looker.describe(now),
            "runtime_dir": setup.claim.path,
            "server": setup.settings.config.server,
            "engine": setup.settings.config.engine,
            "log_dropped": self.journal.lines_dropped(),
            "attached": self._attachments.describe(),
            "templates": self._executor.templates.describe(footprints, now),
            "jobs": self._executor.jobs.describe(),
            "release": self._releases.known(self.cluster.generation),
            **status_of(
                self.cluster,
                self._executor,
                self._sampler,
                setup.shared.scoreboard,
                footprints,
                children,
                self._statistics.rate(now),
                now,
            ),
        }

    def health(self) -> dict[str, object]:
        """The answer to `tercio health`, and to probes."""
        min_ready = self._revisions[self.cluster.revision].config.min_ready
        return health_of(self.cluster, min_ready)

    def metrics(self) -> dict[str, object]:
        """The answer to `tercio metrics`. Raises `ControlError`."""
        self._statistics.keep_up(self.cluster, time.monotonic())
        return self._statistics.to_json()

    def describe_config(self) -> dict[str, object]:
        """The answer to `tercio config` of a running cluster."""
        return self._revisions[self.cluster.revision].to_json()

    def ask_reload(self) -> int:
        """Read the options anew and ask for a reload; return the request's number.

        Wrong options, or changes that need a restart, are refused in an event, and the old
        configuration goes on. Raises `ControlError` in a stop.
        """
        if self.cluster.stopping is not None:
            raise ControlError("the cluster is stopping")
        self._requests += 1
        try:
            settings = self._setup.launch.read_settings()
            refused = refused_changes(self._setup.settings.config, settings.config)
            self._releases.check(settings.config.release_dir)
        except ConfigError as error:
            self.journal.publish(events.ReloadRefused(str(error)))
            return self._requests
        if refused:
            self.journal.publish(events.ReloadRefused("; ".join(refused)))
            return self._requests
        self._revisions[self._requests] = settings
        self._forget_old_revisions()
        headroom, needed = self._memory_for_reload()
        policy = self._policy_of(settings.config, self.cluster.target)
        self.tell(inputs.ReloadAsked(self._requests, self._requests, policy, headroom, needed))
        return self._requests

    def reopen_logs(self) -> None:
        """Log files were moved: open them by their names again, here and in all workers."""
        # First here: as root we can make a file where workers of another user cannot.
        files, problems = logs.reopen(self._setup.identity)
        for problem in problems:
            self.journal.publish(events.LogFileKept(problem))
        self.journal.publish(events.LogsReopened(tuple(files)))
        for worker in self._executor.workers.values():
            worker.send({"type": "reopen_logs"})

    def show_stacks(self) -> None:
        """Log the stacks of all workers."""
        for who in tuple(self._executor.workers):
            self._executor.carry_out(ShowStack(who))

    async def dump(self, slot: int) -> str:
        """The stacks of the worker in ``slot``, without stopping it. Raises `ControlError`."""
        workers = [w for w in self._executor.workers.values() if w.id.slot == slot]
        if not workers:
            raise ControlError(f"no worker lives in slot {slot}")
        worker = workers[-1]
        self._dumps += 1
        asked: asyncio.Future[str] = self._loop.create_future()
        worker.dumps[self._dumps] = asked
        worker.send({"type": "dump", "id": self._dumps})
        # `wait`, not `wait_for`: the end of the worker cancels the answer, not us.
        await asyncio.wait({asked}, timeout=_DUMP_WAIT)
        if asked.cancelled():
            raise ControlError(f"worker {worker.id} ended before it answered")
        if asked.done():
            return asked.result()
        return await self._executor.stack_of(worker)

    # Small things

    def _launch(self, command: Spawn) -> Launching:
        settings = self._revisions[command.revision]
        directory = self._releases.of(command.generation, settings.config.release_dir)
        return launching_of(self._setup, settings, command, directory)

    def _launch_template(self, command: StartTemplate) -> Launching:
        settings = self._revisions[command.revision]
        directory = self._releases.of(command.generation, settings.config.release_dir)
        return template_of(self._setup, settings, command, directory)

    def _release_seat(self, seat: int) -> Unfinished:
        """Keep a dead worker's counts, free its row, and say what it had not ended."""
        row = self._setup.shared.scoreboard.row(seat)
        left = Unfinished(row[Field.IN_FLIGHT], row[Field.WEBSOCKETS], moved=row[Field.MOVED_DRAIN])
        self._setup.shared.release(seat)
        return left

    def _settings_to_attach(self) -> Settings:
        if self.cluster.stopping is not None:
            raise ControlError("the cluster is stopping")
        return self._revisions[self.cluster.revision]

    def _policy_of(self, config: Config, workers: int) -> Policy:
        policy = policy_of(config, cgroup.limits(), workers, self._setup.size.most)
        return dataclasses.replace(policy, is_development=self._setup.launch.is_development)

    def _memory_for_reload(self) -> tuple[int | None, int]:
        """What the cgroup has left, and what a second set of workers would take."""
        headroom = cgroup.limits().memory_headroom
        if headroom is None:
            return None, 0
        # A template is one of them, too; what they share with it is counted once.
        pids = self._executor.pids()
        return headroom, sum(memory.pss(pid) or 0 for pid in pids)

    def _forget_old_revisions(self) -> None:
        cluster = self.cluster
        kept = {cluster.revision, self._requests}
        if cluster.rollout is not None:
            kept.add(cluster.rollout.revision)
        for revision in self._revisions.keys() - kept:
            del self._revisions[revision]
        self._releases.forget_before(cluster.generation)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._supervisor.next_deadline()
        if deadline is not None:
            # asyncio's clock is time.monotonic, the supervisor's too.
            at = max(deadline, self._rests_until)
            self._timer = self._loop.call_at(at, self.tell, inputs.Tick())

    def _sample(self) -> None:
        policy = self.cluster.policy
        try:
            now = time.monotonic()
            self.tell(self._sampler.round(self._executor.workers, policy, now))
            self._looker.look()
            self._setup.shared.tidy()
            self._statistics.keep_up(self.cluster, now)
            interval = self._revisions[self.cluster.revision].config.stats_interval
            self._expiry.look(time.time())
            self._statistics.tell(interval, policy.sample_interval, now)
        finally:
            # Whatever one round met, the next one comes: without it nobody is judged any more.
            if self.cluster.stopping is None or self._executor.workers:
                self._loop.call_later(policy.sample_interval, self._sample)

    def _look_at_writers(self) -> None:
        """Sample at once when a worker has held the state's write lock for too long."""
        delay = HOLD_LIMIT
        try:
            now = time.monotonic()
            self._attachments.judge(now)
            age = self._sampler.longest_hold(self._executor.workers, now)
            if age is not None and age < HOLD_LIMIT:
                delay = HOLD_LIMIT - age + _HOLD_SLACK
            elif age is not None:
                self.tell(self._sampler.round(self._executor.workers, self.cluster.policy, now))
        finally:
            if self.cluster.stopping is None or self._executor.workers:
                self._loop.call_later(delay, self._look_at_writers)

    def reap(self) -> None:
        """A child ended: reap it if nobody else does."""
        self._executor.look_for_ended()
        self._sidecar.look_for_ended()
        if self._reaps_strangers and not self._executor.templates.is_forking:
            orphans.reap_strangers(self._executor.pids() | self._sidecar.pids)
