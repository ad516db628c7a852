"""What an application can ask of the cluster it runs in.

``from tercio import cluster`` works everywhere: in a worker, in a process attached to a cluster
(`tercio exec`, offloaded calls), and in a plain process (a script, a test, another server), where
the same calls reach this process alone. ``cluster.mode`` says which; with ``TERCIO_REQUIRE=1`` a
plain process gets `NotInCluster` instead.

In a process that application code forked inside a worker it raises `ForkedFromWorker`: nothing
there belongs to the child.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tercio.cluster.membership import Membership, Mode, Seat, Worker
from tercio.errors import ForkedFromWorker, NotInCluster, TercioError
from tercio.options import ATTACH_VARIABLE

if TYPE_CHECKING:
    from tercio.bus.bus import Bus
    from tercio.cluster.parts import Parts
    from tercio.cluster.twins import Twins
    from tercio.config import Config
    from tercio.jobs.jobs import Jobs
    from tercio.jobs.registry import cron, every, once
    from tercio.metrics.metrics import Metrics
    from tercio.offload.offload import Offload
    from tercio.rooms import Rooms
    from tercio.state.leader import Leader
    from tercio.state.state import State

__all__ = [
    "Membership",
    "Mode",
    "Seat",
    "Worker",
    "bus",
    "cron",
    "every",
    "jobs",
    "leader",
    "metrics",
    "mode",
    "offload",
    "once",
    "rooms",
    "rotate_secret",
    "secret",
    "secrets",
    "share",
    "state",
    "sync",
    "worker",
]

_log = logging.getLogger("tercio.cluster")

mode: Mode
worker: Worker
bus: "Bus"
state: "State"
metrics: "Metrics"
offload: "Offload"
rooms: "Rooms"
jobs: "Jobs"
sync: "Twins"

_NAMES: Final = frozenset(
    {"mode", "worker", "bus", "state", "metrics", "offload", "rooms", "jobs", "sync"}
)
_DECLARING: Final = frozenset({"every", "cron", "once"})
_PARTS: Final = _NAMES - {"mode", "worker"}

_membership: Membership | None = None
_parts: "Parts | None" = None
_is_forked = False
_is_said = False
_lock = threading.RLock()


if not TYPE_CHECKING:  # a type checker should find misspelt names

    def __getattr__(name: str) -> object:
        if name in _DECLARING:
            from tercio.jobs import registry

            return getattr(registry, name)
        if name not in _NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        parts_or_membership = _current(name) if name in _PARTS else _joined(name)
        if name == "worker" and _membership is not None and _membership.is_template:
            raise NotInCluster(
                "cluster.worker is not known while --preload imports the application: it is one "
                "import for all workers; ask in the lifespan, or later"
            )
        found = getattr(parts_or_membership, name)
        is_settled = _membership is not None and not _membership.is_template
        if _membership is not None and is_settled and _membership.mode == "worker":
            # A worker stays one: the next look costs nothing (1 us less a request).
            globals()[name] = found
        return found


def leader(name: str, ttl: float = 10.0) -> "Leader":
    """Be the one process of the cluster that does something: ``async with leader("nightly"):``.

    Waits until no other is. ``ttl``: seconds after which another one takes over from a leader that
    died or does not get to run. The lease has a ``token`` that only ever grows, and ``lost``.
    """
    return _current("leader").state.leader(name, ttl=ttl)


def secret(name: str) -> str:
    """One secret for all processes: to sign cookies with, for example.

    From the variable ``TERCIO_SECRET_<NAME>``, a file in ``--secrets-dir``, or made at random once
    and kept in the shared state. Raises `ConfigError` for a name or a file that cannot be used.
    """
    return secrets(name)[0]


def secrets(name: str) -> tuple[str, ...]:
    """The secret, and before it was rotated: what was signed with any of them is good."""
    return _current("secrets").secrets.history(name)


def rotate_secret(name: str, keep: int = 1) -> str:
    """Make a new secret for all processes and return it; ``keep`` old ones stay good.

    Raises `ConfigError` for one that is given from outside.
    """
    return _current("rotate_secret").secrets.rotate(name, keep)


def share(total: int, *, attached: int = 0) -> int:
    """This process's part of a budget, such as connections of a database: 1 at least.

    All workers together never exceed ``total``, in a reload neither, when each has its old and its
    new process: of 100, each of 4 workers gets 100 // (2 * 4) = 12. With ``--max-workers`` it is
    divided among so many; without it a cluster that was scaled up refuses to share.

    ``attached``: how many other processes (offloaded calls, `tercio exec`) take a part at once. In
    a plain process it is ``total``. Raises `ConfigError`, which says what to do.
    """
    from tercio.cluster.shares import share_of

    return share_of(total, attached, _joined("share"))


# What is below is Tercio's own, and its test plugin's.


def join(joining: Membership) -> None:
    """Make this process a part of a cluster. Called by the worker before the import."""
    global _membership, _parts
    with _lock:
        if _membership is not None and _membership.is_template:
            from tercio.cluster.shares import check_template

            check_template(joining)
        _forget()
        parts, _parts = _parts, None
        if parts is not None and parts.membership.is_template:
            parts.become(joining)  # what the import has made stays in use
            _parts = parts
        _membership = joining


def join_as_template(config: "Config") -> None:
    """Be what workers are forked from. Called before the import; `join` follows in each fork."""
    join(Membership("worker", config=config, is_template=True))


def start() -> None:
    """The event loop runs: what the import has subscribed to is heard from now on."""
    if _parts is not None:
        _parts.start()


def work(*, is_serving: bool) -> None:
    """This worker serves, and may run jobs; or it is parked, and others do."""
    # Who has declared none needs not even the module.
    if "tercio.jobs.registry" not in sys.modules:
        return
    try:
        parts = _current("jobs")
        if is_serving:
            parts.jobs.start()
        elif parts.used("jobs") is not None:
            parts.jobs.pause()
    except TercioError:  # the state cannot be opened; requests are served all the same
        _log.exception("this worker can run no jobs")


def end_work(limit: float) -> None:
    """This worker is to go within ``limit`` seconds; the last call with the least counts."""
    if _parts is not None and _parts.used("jobs") is not None:
        _parts.jobs.end(limit)


async def work_ended() -> None:
    """Return when no job runs in this worker; after `end_work`."""
    if _parts is not None and _parts.used("jobs") is not None:
        await _parts.jobs.ended()


async def reach(limit: float) -> None:
    """Return when the shared state answers. Raises `StateUnavailable` after ``limit`` seconds."""
    await _current("state").reach(limit)


async def leave() -> None:
    """Send what was published and give all up. Called at the end of a worker."""
    if _parts is not None:
        await _parts.close()


def leave_to_parent() -> None:
    """Say that this process is a fork of a worker. Called after a fork, in the child."""
    global _is_forked
    _is_forked = True
    _forget()
    if _parts is not None:
        _parts.abandon()


@contextmanager
def fresh(clock: Callable[[], float] | None = None) -> Iterator[None]:
    """Be a plain process with empty engines for a while; for tests."""
    global _membership, _parts
    before = _membership, _parts
    _forget()
    _membership, _parts = Membership(), None
    if clock is not None:
        from tercio.cluster.parts import Parts

        _parts = Parts(_membership, clock)
    try:
        yield
    finally:
        if _parts is not None:
            _parts.close_now()
        _membership, _parts = before


def _forget() -> None:
    """Ask anew who this process is when something is looked up."""
    for name in _NAMES:
        globals().pop(name, None)


def _current(name: str) -> "Parts":
    global _parts
    parts = _parts
    if parts is None or parts.is_stale():
        membership = _joined(name)  # before the lock: it may take a while
        with _lock:
            parts = _parts
            if parts is None or parts.is_stale() or parts.membership is not membership:
                from tercio.cluster.parts import Parts

                metrics = None if parts is None else parts.give_up()
                parts = _parts = Parts(membership, metrics=metrics)
    elif _is_forked:
        _joined(name)
    return parts


def _joined(name: str) -> Membership:
    """Who this process is; found out when it is first asked."""
    global _membership
    if _is_forked:
        raise ForkedFromWorker(
            f"this process was forked from worker {_worker_id()} by application code and is no "
            f"part of the cluster; use cluster.{name} in the worker, and pass on what it says"
        )
    membership = _membership
    if membership is not None and not membership.is_over():
        return membership
    with _lock:
        membership = _membership
        if membership is None or membership.is_over():
            membership = _membership = _find()
    return membership


def _find() -> Membership:
    if target := os.environ.get(ATTACH_VARIABLE):
        from tercio.cluster.attachment import join_attached

        return join_attached(target)
    if os.environ.get("TERCIO_REQUIRE") == "1":
        raise NotInCluster(
            "this process is no worker of a cluster, and TERCIO_REQUIRE=1 asks for one: start it "
            "by `tercio run`, or attach it by `tercio exec -- COMMAND`"
        )
    _say_local()
    return Membership()


def _say_local() -> None:
    global _is_said
    if not _is_said:
        _is_said = True
        _log.info("tercio.cluster works in this process alone: it belongs to no cluster")


def _worker_id() -> str:
    return _membership.worker.id if _membership is not None else "?"
