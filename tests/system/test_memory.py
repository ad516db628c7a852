import mmap
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.system import memory

from .processes import Nursery, nursery_that_leaves_nothing, read_line, wait_end

MIB = 1 << 20
# 48 MiB are shared by parent and child (the child changes nothing), 16 MiB are the child's own.
FAMILY = """
import mmap, os, signal, sys
shared = mmap.mmap(-1, 48 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, len(shared), 4096):
    shared[page] = 1
pid = os.fork()
if pid == 0:
    own = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(own), 4096):
        own[page] = 1
    for page in range(0, len(shared), 4096):
        shared[page]
    os.write(int(sys.argv[1]), b'%d\\n' % os.getpid())
while True:
    signal.pause()
"""


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with nursery_that_leaves_nothing() as nursery:
        yield nursery


def test_shared_pages_count_in_full_in_part_or_not_at_all(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    parent = nursery.python(FAMILY, str(writing), pass_fds=[writing])
    os.close(writing)
    child = int(read_line(reading))
    os.close(reading)
    seen = memory.footprint(child)
    assert seen is not None
    assert seen.rss >= 64 * MIB
    assert 16 * MIB <= seen.uss < 32 * MIB
    assert 16 * MIB + 24 * MIB <= seen.pss < 56 * MIB
    assert seen.uss < seen.pss < seen.rss
    assert memory.uss(child) == seen.uss
    # Its share of the interpreter is smaller when another program begins to run that, too.
    assert memory.pss(child) == pytest.approx(seen.pss, abs=4 * MIB)
    cheap = memory.rss(child)
    assert cheap is not None
    assert abs(cheap - seen.rss) < 2 * MIB
    parent.kill_group(signal.SIGKILL)


def test_our_own_memory_grows_by_what_we_touch() -> None:
    before = memory.uss(os.getpid())
    with mmap.mmap(-1, 32 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        after = memory.uss(os.getpid())
    assert before is not None
    assert after is not None
    assert 30 * MIB < after - before < 40 * MIB


def test_a_process_that_is_gone_has_no_memory(nursery: Nursery) -> None:
    child = nursery.start("/bin/true")
    wait_end(child)
    assert memory.rss(child.pid) is None
    assert memory.uss(child.pid) is None
    assert memory.pss(child.pid) is None
    assert memory.footprint(child.pid) is None


def test_the_machine_tells_what_is_left() -> None:
    available, total = memory.available(), memory.total()
    assert available is not None
    assert total is not None
    assert 0 < available < total


def test_the_smaller_of_machine_and_cgroup_counts(tmp_path: Path) -> None:
    assert memory.available(tmp_path) is None
    group = tmp_path / "sys/fs/cgroup"
    for path, text in {
        "proc/meminfo": "MemTotal:       8192 kB\nMemAvailable:   2048 kB\nHugePages_Total:  0\n",
        "proc/self/cgroup": "0::/app\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/app/memory.max": "4194304\n",
        "sys/fs/cgroup/app/memory.current": "3145728\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert (memory.available(tmp_path), memory.total(tmp_path)) == (MIB, 4 * MIB)
    (group / "app/memory.max").write_text("max\n")
    assert (memory.available(tmp_path), memory.total(tmp_path)) == (2 * MIB, 8 * MIB)
