"""The boot record: what a primary tells a worker that starts."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tercio.config import Config
from tercio.dataplane import scoreboard
from tercio.errors import ProtocolError, VersionMismatch
from tercio.version import __version__


@dataclass(frozen=True, slots=True)
class Bound:
    """What was inherited of one address: a listener for each slot, or one that all share."""

    bind: str
    slots: tuple[int, ...]
    shared: int | None

    @property
    def fds(self) -> tuple[int, ...]:
        """All of them."""
        return self.slots if self.shared is None else (self.shared,)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRecord:
    """See `read`. Descriptors are numbers in this process."""

    primary_pid: int
    slot: int
    incarnation: int
    seat: int
    generation: int
    name: str
    directory: str
    """The cluster's runtime directory, with its control socket."""
    app: str
    config: Config
    listeners: tuple[Bound, ...]
    channel: int
    lifeline: int
    host: bytes
    """What all processes of this cluster on this host have, and no others."""
    state: Mapping[str, object]
    """Where the shared state is, see `engines.embedded.open_state`."""
    shared: Mapping[str, int]
    """See `dataplane.shared`."""
    stack: int
    oom_score_adj: int | None
    rlimits: Mapping[str, int]
    is_locked: bool = False
    has_launcher: bool = False
    """A program launched the cluster, and hears messages of workers."""
    is_development: bool = False

    @property
    def fds(self) -> tuple[int, ...]:
        """Every inherited descriptor but the standard ones."""
        listeners = (fd for bound in self.listeners for fd in bound.fds)
        return (*listeners, self.channel, self.lifeline, *self.shared.values(), self.stack)

    @property
    def own(self) -> tuple[int, ...]:
        """The listeners that this worker accepts from, one for each address."""
        found = (
            bound.slots[self.slot] if bound.shared is None else bound.shared
            for bound in self.listeners
        )
        return tuple(found)

    @property
    def shared_listeners(self) -> frozenset[int]:
        """Those of them that all workers accept from."""
        return frozenset(bound.shared for bound in self.listeners if bound.shared is not None)

    def others(self, slot: int) -> tuple[int, ...]:
        """The listeners of another slot; nobody accepts from them unless the primary says so."""
        return tuple(bound.slots[slot] for bound in self.listeners if slot < len(bound.slots))

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Raises `ProtocolError`, or `ConfigError` for options that this version does not have."""
        try:
            return cls(
                primary_pid=values["primary_pid"],
                slot=values["slot"],
                incarnation=values["incarnation"],
                seat=values["seat"],
                generation=values["generation"],
                name=values["name"],
                directory=values["directory"],
                host=bytes.fromhex(values["host"]),
                state=values["state"],
                app=values["app"],
                config=Config.from_json(values["options"]),
                listeners=tuple(
                    Bound(each["bind"], tuple(each["slots"]), each["shared"])
                    for each in values["listeners"]
                ),
                channel=values["channel"],
                lifeline=values["lifeline"],
                shared=values["shared"],
                stack=values["stack"],
                oom_score_adj=values["oom_score_adj"],
                rlimits=values["rlimits"],
                is_locked=values.get("is_locked", False),
                has_launcher=values.get("has_launcher", False),
                is_development=values.get("is_development", False),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"the boot record lacks something: {error!r}") from error


def read(fd: int) -> dict[str, Any]:
    """Read the record to its end and close the descriptor."""
    with open(fd, "rb") as file:
        if file.seekable():  # a memfd: its offset is the writer's, and that is at the end
            file.seek(0)
        values = json.loads(file.read())
    if not isinstance(values, dict):
        raise ProtocolError("the boot record is no JSON object")
    return values


def renumbered(values: Mapping[str, Any], own: Mapping[int, int]) -> dict[str, Any]:
    """The record of a process that inherited nothing: ``own`` are its numbers, by the primary's."""
    return {
        **values,
        "listeners": [
            {
                **bound,
                "slots": [own[fd] for fd in bound["slots"]],
                "shared": None if bound["shared"] is None else own[bound["shared"]],
            }
            for bound in values["listeners"]
        ],
        "lifeline": own[values["lifeline"]],
        "shared": {name: own[fd] for name, fd in values["shared"].items()},
        "stack": own[values["stack"]],
    }


def check_version(values: Mapping[str, Any]) -> None:
    """Raises `VersionMismatch` if the primary is of another version of Tercio than this worker."""
    theirs, layout = values.get("version"), values.get("layout")
    if theirs != __version__:
        raise VersionMismatch(f"Tercio was upgraded from {theirs} to {__version__}; restart")
    if layout != scoreboard.LAYOUT:
        raise VersionMismatch(
            f"Tercio was changed in place (memory layout {layout} to {scoreboard.LAYOUT}); restart"
        )


def keep_from_programs(fds: tuple[int, ...]) -> None:
    """Close the descriptors in programs that the application starts: they come inheritable."""
    for fd in fds:
        os.set_inheritable(fd, False)
