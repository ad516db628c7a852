"""Control groups for clusters in tests: a limit on memory or on CPU time, of version 1 or 2."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


class Group:
    """One group. ``prefix`` makes a command run in it."""

    def __init__(self, path: Path, *, is_v1: bool) -> None:
        self.path = path
        self._is_v1 = is_v1
        self.prefix = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(path))

    def limit_memory(self, amount_bytes: int) -> None:
        """Let the group use this much, and no swap beside it."""
        self._write("memory.limit_in_bytes" if self._is_v1 else "memory.max", amount_bytes)
        swap = "memory.memsw.limit_in_bytes" if self._is_v1 else "memory.swap.max"
        with suppress(OSError):  # a kernel without swap accounting has no such file
            self._write(swap, amount_bytes if self._is_v1 else 0)

    def limit_cpu(self, cores: float) -> None:
        """Let the group run on this many cores, on average over 100 ms."""
        quota = int(cores * 100_000)
        if self._is_v1:
            self._write("cpu.cfs_period_us", 100_000)
            self._write("cpu.cfs_quota_us", quota)
        else:
            self._write("cpu.max", f"{quota} 100000")

    def memory_used(self) -> int:
        """As the kernel counts it, without pages of files that it would give back first."""
        name = "memory.usage_in_bytes" if self._is_v1 else "memory.current"
        key = "total_inactive_file" if self._is_v1 else "inactive_file"
        lines = (self.path / "memory.stat").read_text().splitlines()
        counters = dict(line.split() for line in lines)
        return int((self.path / name).read_text()) - int(counters[key])

    def _write(self, name: str, value: object) -> None:
        (self.path / name).write_text(str(value))


@contextmanager
def group(controller: str) -> Iterator[Group]:
    """A group of our own, where this machine lets us make one. It is gone afterwards."""
    is_v1 = (ROOT / controller).is_dir()
    top = ROOT / controller if is_v1 else ROOT
    path = top / f"tercio-test-{uuid.uuid4().hex[:12]}"
    try:
        if not is_v1:
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error} (needs root and a writable {top})")
    try:
        yield Group(path, is_v1=is_v1)
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            with suppress(OSError):  # it ended meanwhile
                (top / "cgroup.procs").write_text(pid)
        os.rmdir(path)
