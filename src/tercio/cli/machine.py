"""What this machine offers of what Tercio likes to use, and what each missing piece costs.

Each feature is tried, not looked up: a container may forbid what the kernel has.
"""

import ctypes
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tercio.system import cgroup
from tercio.units import human_size

_SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h, and the same on all Linux but parisc, sparc
_PR_GET_PDEATHSIG = 2


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing a machine may offer."""

    name: str
    there: bool
    told: str
    """What was found; for a missing one, what goes without it."""


@dataclass(frozen=True, slots=True)
class _Probe:
    name: str
    gives: str
    costs: str
    works: Callable[[], bool]


def features() -> Iterator[Feature]:
    """Try everything, in the order in which it matters."""
    for probe in _PROBES:
        try:
            there = probe.works()
        except (OSError, AttributeError, ValueError):
            there = False
        yield Feature(probe.name, there, probe.gives if there else probe.costs)
    yield from _container()


def _pidfd() -> bool:
    os.close(os.pidfd_open(os.getpid()))
    return True


def _memfd() -> bool:
    os.close(os.memfd_create("tercio-check"))
    return True


def _fallocate() -> bool:
    fd = os.memfd_create("tercio-check")
    try:
        os.posix_fallocate(fd, 0, 4096)
    finally:
        os.close(fd)
    return True


def _reuseport_filter() -> bool:
    """Attach the shortest classic BPF program there is, ``return 0``, to a socket of our own."""
    if sys.platform != "linux":
        return False
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)
    return True


def _parent_death() -> bool:
    if sys.platform != "linux":
        return False
    signal = ctypes.c_int()
    return bool(ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(signal), 0, 0, 0) == 0)


def _smaps_rollup() -> bool:
    return b"Pss" in Path("/proc/self/smaps_rollup").read_bytes()


def _uvloop() -> bool:
    return importlib.util.find_spec("uvloop") is not None


_PROBES = (
    _Probe(
        "pidfd",
        "deaths are seen at once; no signal can hit a reused pid",
        "deaths are seen through SIGCHLD, and a signal could hit a reused pid",
        _pidfd,
    ),
    _Probe(
        "memfd",
        "shared memory needs no file system",
        "shared memory lies in unlinked temporary files",
        _memfd,
    ),
    _Probe(
        "fallocate",
        "memory for counters is reserved before workers start",
        "a full tmpfs is noticed by a worker that dies of SIGBUS",
        _fallocate,
    ),
    _Probe(
        "cBPF on SO_REUSEPORT",
        "the kernel can give connections to the least busy worker",
        "connections go to whichever worker accepts first",
        _reuseport_filter,
    ),
    _Probe(
        "PDEATHSIG",
        "a worker dies with its primary even when it is stuck",
        "only a thread in each worker notices that the primary died",
        _parent_death,
    ),
    _Probe(
        "smaps_rollup",
        "memory is measured without counting shared pages twice",
        "memory limits count shared pages once a worker: set them higher",
        _smaps_rollup,
    ),
    _Probe(
        "uvloop",
        "the fast event loop is used",
        "asyncio's own event loop is used: fewer requests a second",
        _uvloop,
    ),
)


def _container() -> Iterator[Feature]:
    cores = cgroup.cpu_count()
    yield Feature("CPUs", True, f"{cores.count} can be used ({cores.reason})")
    version = _cgroup_version()
    if not version:
        costs = "limits of a container are not seen: set --workers and --limit-max-memory"
        yield Feature("cgroup", False, costs)
        return
    limits = cgroup.limits()
    if limits.memory_limit is None:
        memory = "no memory limit"
    else:
        used = "" if limits.memory_used is None else f", {human_size(limits.memory_used)} used"
        memory = f"memory limit {human_size(limits.memory_limit)}{used}"
    cpu = "no CPU quota" if limits.cpu_quota is None else f"CPU quota {limits.cpu_quota:g}"
    yield Feature("cgroup", True, f"{version}; {memory}; {cpu}")


def _cgroup_version() -> str:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "v2"
    return "v1" if Path("/sys/fs/cgroup/memory").exists() else ""
