"""What an application can ask about the cluster it runs in.

``from tercio import cluster`` works everywhere: in a worker, and in a plain process, where
``cluster.mode`` is "local". In a process that application code forked inside a worker it raises:
nothing there belongs to the child.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercio.errors import ForkedFromWorker


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker that this code runs in."""

    slot: int = 0
    incarnation: int = 0
    generation: int = 0

    @property
    def id(self) -> str:
        """``SLOT.INCARNATION``: who it is. A pid may be used again."""
        return f"{self.slot}.{self.incarnation}"


@dataclass(frozen=True, slots=True)
class _Membership:
    mode: Literal["worker", "local"]
    worker: Worker


mode: Literal["worker", "local"]
worker: Worker

_membership = _Membership("local", Worker())
_is_forked = False


if not TYPE_CHECKING:  # a type checker should find misspelt names

    def __getattr__(name: str) -> object:
        if name not in ("mode", "worker"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if _is_forked:
            raise ForkedFromWorker(
                f"this process was forked from worker {_membership.worker.id} by application code "
                f"and is no part of the cluster; use cluster.{name} in the worker, and pass on "
                "what it says"
            )
        return _membership.mode if name == "mode" else _membership.worker


def join(joining: Worker) -> None:
    """Make this process a worker of the cluster. Called by the worker before the import."""
    global _membership
    _membership = _Membership("worker", joining)


def leave_to_parent() -> None:
    """Say that this process is a fork of a worker. Called after a fork, in the child."""
    global _is_forked
    _is_forked = True
