"""Read the limits that a container or a service manager put on this process.

Versions 1 and 2 of control groups, and both at once, since a machine may mount the memory
controller the old way beside an empty unified tree. A limit counts wherever it was set between
our own group and the topmost one that we can see.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Version 1 says "no limit" with the largest multiple of a page below 2**63.
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Cgroup:
    """What the group allows and uses; None means "no limit" or "not told".

    `memory_used` is that of the group with the smallest limit, without file pages that the kernel
    would give back before it kills. `memory_headroom` is the least that any group on the way up
    has left, which need not be the one with the smallest limit. `cpu_quota` is in cores.
    `oom_kills` counts processes of our own group that the OOM killer ended.
    """

    memory_limit: int | None
    memory_used: int | None
    memory_headroom: int | None
    cpu_quota: float | None
    oom_kills: int


@dataclass(frozen=True, slots=True)
class Cores:
    """How many processes can run at once, and the reason in words."""

    count: int
    reason: str


def limits(root: Path = Path("/")) -> Cgroup:
    """Read the limits of our own group, on a machine whose file system starts at `root`."""
    places = _places(root)
    memory = [*_memory(places.get("memory"), _V1), *_memory(places.get(""), _V2)]
    limited = [level for level in memory if level.limit is not None]
    tightest = min(limited, key=lambda level: level.limit or 0) if limited else None
    shown = tightest or (memory[0] if memory else None)
    quotas = [*_quotas_v1(places.get("cpu")), *_quotas_v2(places.get(""))]
    return Cgroup(
        memory_limit=tightest.limit if tightest else None,
        memory_used=shown.used if shown else None,
        memory_headroom=min((level.headroom for level in limited), default=None),
        cpu_quota=min(quotas, default=None),
        oom_kills=_oom_kills(places),
    )


def cpu_count(root: Path = Path("/")) -> Cores:
    """The processors that we may use: affinity, cut to the quota rounded up, at least one."""
    affinity = _affinity()
    quota = limits(root).cpu_quota
    reason = f"{affinity} from affinity"
    if quota is None:
        return Cores(affinity, reason)
    noun = "core" if quota == 1 else "cores"
    count = max(1, min(affinity, math.ceil(quota)))
    return Cores(count, f"{reason}; cgroup quota {quota:.4g} {noun}")


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Our own group of a hierarchy, and the topmost one that is mounted."""

    own: Path
    top: Path

    def upwards(self) -> Iterator[Path]:
        yield self.own
        if self.own != self.top:
            for above in self.own.parents:
                yield above
                if above == self.top:
                    return


def _places(root: Path) -> dict[str, _Place]:
    """Where each controller of version 1 keeps our group; version 2 has the name ``""``."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    places: dict[str, _Place] = {}
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        mount_root, mount_point = (_unescape(field) for field in before.split(" ")[3:5])
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            controllers = ""
        elif kind == "cgroup":
            controllers = options
        else:
            continue
        for controller in set(controllers.split(",")) & groups.keys():
            place = _place(root / mount_point.lstrip("/"), mount_root, groups[controller])
            if controller not in places or not places[controller].own.is_dir():
                places[controller] = place
    return places


def _place(top: Path, mount_root: str, path: str) -> _Place:
    """Translate the path of a group into one below a mount that may show only a part of the tree.

    In a container the mount often starts at our own group while ``/proc/self/cgroup`` still
    names it from the machine's root; or, in a namespace, names something above with ``..``.
    """
    prefix = mount_root.rstrip("/") + "/"
    within = (path.rstrip("/") + "/").startswith(prefix)
    parts = path[len(prefix) :].strip("/").split("/") if within else []
    return _Place(top if ".." in parts else top.joinpath(*parts), top)


@dataclass(frozen=True, slots=True)
class _MemoryFiles:
    limit: str
    usage: str
    reclaimable: str  # key of memory.stat


_V1 = _MemoryFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _MemoryFiles("memory.max", "memory.current", "inactive_file")


@dataclass(frozen=True, slots=True)
class _Memory:
    limit: int | None
    used: int | None

    @property
    def headroom(self) -> int:
        return max(0, (self.limit or 0) - (self.used or 0))


def _memory(place: _Place | None, files: _MemoryFiles) -> Iterator[_Memory]:
    if place is None:
        return
    levels = [_memory_of(group, files) for group in place.upwards()]
    yield from levels
    # Version 1 also tells the least limit of all, even if it was set above a container's mount.
    effective = _counters(place.own / "memory.stat").get("hierarchical_memory_limit", _UNLIMITED)
    if effective < _UNLIMITED:
        yield _Memory(effective, levels[0].used)


def _memory_of(group: Path, files: _MemoryFiles) -> _Memory:
    used = _number(group / files.usage)
    if used is not None:
        used = max(0, used - _counters(group / "memory.stat").get(files.reclaimable, 0))
    return _Memory(_number(group / files.limit), used)


def _quotas_v1(place: _Place | None) -> Iterator[float]:
    for group in place.upwards() if place else ():
        quota = _number(group / "cpu.cfs_quota_us")  # -1 is none
        period = _number(group / "cpu.cfs_period_us")
        if quota and period:
            yield quota / period


def _quotas_v2(place: _Place | None) -> Iterator[float]:
    for group in place.upwards() if place else ():
        match " ".join(_lines(group / "cpu.max")).split():
            case [quota, period] if quota.isdecimal() and int(period):
                yield int(quota) / int(period)


def _oom_kills(places: dict[str, _Place]) -> int:
    files = {"memory": "memory.oom_control", "": "memory.events"}
    return sum(
        _counters(places[name].own / file).get("oom_kill", 0)
        for name, file in files.items()
        if name in places
    )


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no file, or if it says "no limit"."""
    text = "".join(_lines(path))
    return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None


def _counters(path: Path) -> dict[str, int]:
    counters = {}
    for line in _lines(path):
        match line.split():
            case [key, value] if value.isdecimal():
                counters[key] = int(value)
    return counters


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    return [line for line in text.split("\n") if line]  # splitlines() knows too many separators


def _unescape(field: str) -> str:
    r"""Undo mountinfo's ``\040`` for a space."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
