"""The bus, the state, the metrics and the child processes of this process, made when first used.

Which engines carry them follows from what the process is: in a cluster shared memory, or Redis
where ``--redis`` says so; on its own nothing but this process.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from tercio.bus.bus import Bus
from tercio.bus.engine import BusEngine
from tercio.cluster.keyring import Secrets
from tercio.cluster.later import Later
from tercio.cluster.membership import Membership
from tercio.cluster.notices import Notices
from tercio.cluster.twins import Twins
from tercio.cluster.vault import Vault
from tercio.errors import OffloadError, StateUnavailable
from tercio.metrics.metrics import LocalMetrics, Metrics
from tercio.offload.offload import Offload
from tercio.offload.places import Places
from tercio.offload.pool import Pool
from tercio.options import ATTACH_VARIABLE
from tercio.state.engine import StateEngine
from tercio.state.state import State
from tercio.system import cgroup, rundir

if TYPE_CHECKING:
    from tercio.jobs.jobs import Jobs
    from tercio.rooms import Rooms

OWN_NAMESPACE: Final = ".tercio"
"""Of the state, for what is not the application's."""

OFFLOADED: Final = "TERCIO_OFFLOADED"
"""Set in processes that carry out offloaded calls."""

FLUSH: Final = 1.0
"""Seconds at the end for what was published last."""

_REACH_AGAIN: Final = 0.25  # seconds between two questions to a server that is away

T = TypeVar("T")


class Parts:
    """Everything that `tercio.cluster` offers, for one process."""

    def __init__(
        self,
        membership: Membership,
        clock: Callable[[], float] = time.time,
        metrics: Metrics | None = None,
    ) -> None:
        """``clock`` is that of the engines in this process, when it is on its own.

        ``metrics`` are those of the parts before, which count here from now on.
        """
        self.membership: Membership = membership
        self.pid: int = os.getpid()
        self._clock = clock
        self._made: dict[str, object] = {}
        if metrics is not None:
            if membership.seat is not None:
                metrics.join(membership.seat.shared, membership.seat.number)
            self._made["metrics"] = metrics
        self._lock = threading.RLock()  # one part needs another

    @property
    def bus(self) -> Bus:
        """Messages between the processes of the cluster."""
        return self._once("bus", self._bus)

    @property
    def state(self) -> State:
        """What the processes of the cluster share."""
        return self._once(
            "state",
            lambda: State(self._once("state engine", self._state_engine), Notices(self.bus)),
        )

    @property
    def metrics(self) -> Metrics:
        """Numbers that add up over the processes of the cluster."""
        return self._once("metrics", self._metrics)

    @property
    def offload(self) -> Offload:
        """Calls in other processes."""
        return self._once("offload", lambda: Offload(self._once("pool", self._pool)))

    @property
    def rooms(self) -> "Rooms":
        """WebSockets of all workers."""
        from tercio.rooms import Rooms

        return self._once("rooms", lambda: Rooms(self.bus, self.state, self.metrics))

    @property
    def jobs(self) -> "Jobs":
        """What one worker runs for all."""
        return self._once("jobs", self._jobs)

    @property
    def secrets(self) -> Secrets:
        """Secrets that the processes of the cluster agree on."""
        return self._once("secrets", self._secrets)

    @property
    def sync(self) -> Twins:
        """The same for threads without an event loop."""
        return self._once("sync", lambda: Twins(self))

    def used(self, name: str) -> object | None:
        """A part if it was made: at the end nothing should be made only to be closed."""
        made = self._made.get(name)
        return made.made if isinstance(made, Later) else made

    def _once(self, name: str, make: Callable[[], T]) -> T:
        made = self._made.get(name)
        if made is None:
            with self._lock:
                made = self._made.get(name)
                if made is None:
                    made = self._made[name] = make()
        return cast("T", made)

    def is_stale(self) -> bool:
        """Whether this process is not, or no more, what these parts were made for."""
        return self.membership.is_over() or (
            self.pid != os.getpid() and self.membership.mode == "local"
        )

    def start(self) -> None:
        """In the running loop: hear what was subscribed to before it ran."""
        if (bus := self.used("bus")) is not None:
            cast("Bus", bus).start()

    async def reach(self, limit: float) -> None:
        """Return when the state answers. Raises `StateUnavailable` after ``limit`` seconds."""
        deadline = asyncio.get_running_loop().time() + limit
        while True:
            try:
                await self.state.namespace(OWN_NAMESPACE).get("reach")
                return
            except StateUnavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_REACH_AGAIN)

    def become(self, membership: Membership) -> None:
        """Belong to a worker from now on, in a fork of the template that made these parts."""
        self.membership = membership
        self.pid = os.getpid()
        if (metrics := self.used("metrics")) is not None and membership.seat is not None:
            cast("Metrics", metrics).join(membership.seat.shared, membership.seat.number)

    def close_now(self) -> None:
        """Give all up without an event loop; for engines of this process alone."""
        if (pool := self.used("pool")) is not None:
            cast("Pool", pool).close()
        if (rooms := self.used("rooms")) is not None:
            cast("Rooms", rooms).close()
        if (bus := self.used("bus")) is not None:
            cast("Bus", bus).close()
        self._made.clear()

    async def close(self, limit: float = FLUSH) -> None:
        """Send what was published, end children, and give all up. Calls that wait end with errors.

        ``limit`` is in seconds, for the messages.
        """
        if (jobs := self.used("jobs")) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await cast("Jobs", jobs).close()
        if (pool := self.used("pool")) is not None:
            await asyncio.to_thread(cast("Pool", pool).close)
        if (rooms := self.used("rooms")) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await cast("Rooms", rooms).leave_all()
        if (bus := self.used("bus")) is not None:
            with suppress(TimeoutError):  # a server that is away: what it did not get is counted
                await cast("Bus", bus).flush(limit)
        if (state := self.used("state")) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await cast("State", state).settle()
        if (engine := self.used("state engine")) is not None:
            await cast("StateEngine", engine).close()
        if bus is not None:
            cast("Bus", bus).close()
        with self._lock:
            self._made.clear()

    def abandon(self) -> None:
        """Forget all of it without touching it: this is a fork, and it belongs to the parent."""
        self._made.clear()

    def give_up(self) -> Metrics | None:
        """Close all of it, so that others like it can be made: the cluster has ended, or this is a
        fork of the process that attached to it.

        Metrics are kept at the top of modules: the answer is where they count, for the next parts.
        """
        metrics = cast("Metrics | None", self.used("metrics"))
        if metrics is not None:
            metrics.leave()
        engine = cast("StateEngine | None", self.used("state engine"))
        if self.pid != os.getpid():
            if engine is not None:
                engine.abandon()
            self.abandon()
        else:
            if engine is not None:
                engine.close_now()
            if (bus := self.used("bus")) is not None:
                cast("Bus", bus).fail("the cluster has ended")
            self.close_now()
        self.membership.give_up()
        return metrics

    # How each is made

    def _bus(self) -> Bus:
        membership = self.membership
        bus = Bus(
            self._once("bus engine", self._bus_engine), is_workers=membership.mode == "worker"
        )
        if membership.connection is not None:
            membership.connection.when_over(partial(bus.fail, "the cluster has ended"))
        return bus

    def _bus_engine(self) -> BusEngine:
        if self.membership.is_template:
            return cast("BusEngine", Later("bus", self._is_template, self._bus_engine))
        seat = self.membership.seat
        if seat is None:
            from tercio.engines.local.bus import LocalBus

            return LocalBus()
        from tercio.engines.embedded.bus import EmbeddedBus

        local = EmbeddedBus(seat.shared.rings, seat.number, seat.shared.scoreboard.row(seat.number))
        config = self.membership.config
        if not config.redis:
            return local
        from tercio.engines.redis.bus import RedisBus
        from tercio.engines.redis.url import Address

        return RedisBus(
            Address.parse(config.redis),
            local=local,
            bridge_file=os.path.join(self._locks(), "bridge"),
            prefix=config.redis_prefix,
            host=seat.host,
            name=self._client_name(),
        )

    def _state_engine(self) -> StateEngine:
        if self.membership.is_template:
            return cast("StateEngine", Later("state", self._is_template, self._state_engine))
        seat, config = self.membership.seat, self.membership.config
        if seat is None:
            from tercio.engines.local.state import LocalState

            return LocalState(self._clock)
        if config.redis:
            from tercio.engines.redis.state import RedisState
            from tercio.engines.redis.url import Address

            return RedisState(
                Address.parse(config.redis), prefix=config.redis_prefix, name=self._client_name()
            )
        from tercio.engines.embedded.state import open_state

        row = seat.shared.scoreboard.row(seat.number)
        return open_state(seat.state, row, cares=self.membership.mode == "worker")

    def _jobs(self) -> "Jobs":
        from tercio.jobs.jobs import Jobs

        host = f"{socket.gethostname()}:" if self.membership.config.redis else ""
        return Jobs(
            self.state,
            self.metrics,
            self._clock,
            who=lambda: f"{host}{self.membership.worker.id}",
            tell=self._tell,
        )

    def _tell(self, message: Mapping[str, object]) -> None:
        if self.membership.tell is not None:
            self.membership.tell(message)

    def _metrics(self) -> Metrics:
        seat = self.membership.seat
        return LocalMetrics() if seat is None else Metrics(seat.shared, seat.number)

    def _is_template(self) -> bool:
        return self.membership.is_template

    def _pool(self) -> Pool:
        if self.membership.is_template:
            return cast("Pool", Later("offload", self._is_template, self._pool))
        if os.environ.get(OFFLOADED):
            raise OffloadError(
                "an offloaded call cannot offload: it would wait for a place while it has one"
            )
        size = self.membership.config.offload_workers or cgroup.cpu_count().count
        if self.membership.seat is None:
            return Pool(size, environ={OFFLOADED: "1"})
        environ = {OFFLOADED: "1", ATTACH_VARIABLE: self._door()}
        return Pool(size, Places(self._locks(), size), environ)

    def _door(self) -> str:
        """The directory of the socket at which processes that this one starts can attach."""
        beside = self._locks()  # it has one if the runtime directory is another user's
        has_one = os.path.exists(os.path.join(beside, rundir.CONTROL))
        return beside if has_one else self.membership.directory

    def _locks(self) -> str:
        """A directory that all processes of the cluster can write to, and nobody else."""
        seat = self.membership.seat
        place = None if seat is None else seat.state.get("path")
        # The runtime directory is the primary's, which may be of another user than its workers.
        return str(place or self.membership.directory)

    def _secrets(self) -> Secrets:
        config = self.membership.config
        is_remote = bool(config.redis) and self.membership.seat is not None
        vault = Vault(self._once("state engine", self._state_engine), is_remote=is_remote)
        return Secrets(vault, config.secrets_dir, is_remote=is_remote)

    def _client_name(self) -> str:
        return f"tercio-{self.membership.name or 'cluster'}-{os.getpid()}"
