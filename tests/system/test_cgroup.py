import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tercio.system import cgroup
from tercio.system.cgroup import Cgroup

from .processes import Nursery, nursery_that_leaves_nothing, read_all, wait_end

MIB = 1 << 20
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_NONE = "9223372036854771712\n"


def plant(root: Path, files: Mapping[str, object]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n" if isinstance(text, int) else str(text))


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with nursery_that_leaves_nothing() as nursery:
        yield nursery


def test_version_2_finds_the_smallest_limit_on_the_way_up(tmp_path: Path) -> None:
    own = "sys/fs/cgroup/system.slice/web.service"
    above = "sys/fs/cgroup/system.slice"
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/web.service\n",
            "proc/self/mountinfo": "22 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n" + V2_MOUNT,
            f"{own}/memory.max": 100 * MIB,
            f"{own}/memory.current": 50 * MIB,
            f"{own}/memory.stat": f"anon 1\ninactive_file {20 * MIB}\nactive_file 5\n",
            f"{own}/memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n",
            f"{own}/cpu.max": "max 100000\n",
            f"{above}/memory.max": 200 * MIB,
            f"{above}/memory.current": 195 * MIB,
            f"{above}/memory.stat": "inactive_file 0\n",
            f"{above}/cpu.max": "150000 100000\n",
        },
    )
    assert cgroup.limits(tmp_path) == Cgroup(
        memory_limit=100 * MIB,
        memory_used=30 * MIB,
        memory_headroom=5 * MIB,  # the slice is nearer to its larger limit
        cpu_quota=1.5,
        oom_kills=2,
    )


def test_version_2_without_limits_says_so(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/app/memory.max": "max\n",
            "sys/fs/cgroup/app/memory.current": 3 * MIB,
            "sys/fs/cgroup/app/cpu.max": "max 100000\n",
        },
    )
    assert cgroup.limits(tmp_path) == Cgroup(None, 3 * MIB, None, None, 0)


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": 64 * MIB,
        "sys/fs/cgroup/memory.current": 4 * MIB,
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    expected = Cgroup(64 * MIB, 4 * MIB, 60 * MIB, 0.5, 0)
    for name, group, mount_root in [
        ("namespace", "/", "/"),
        ("no namespace", "/docker/abc", "/docker/abc"),
        ("moved out of the namespace", "/../other", "/"),
        ("foreign root", "/somewhere", "/docker/abc"),
    ]:
        root = tmp_path / name
        mount = f"30 23 0:26 {mount_root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
        plant(root, {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": mount} | files)
        assert cgroup.limits(root) == expected, name


def v1_mount(controllers: str, root: str = "/") -> str:
    return f"35 31 0:32 {root} /sys/fs/cgroup/{controllers} rw - cgroup cgroup rw,{controllers}\n"


def test_version_1_finds_the_smallest_limit_on_the_way_up(tmp_path: Path) -> None:
    own, above = "sys/fs/cgroup/memory/a/b", "sys/fs/cgroup/memory/a"
    quota = "sys/fs/cgroup/cpu,cpuacct/a"
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "9:name=systemd:/x\n4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/\n",
            "proc/self/mountinfo": v1_mount("memory") + v1_mount("cpu,cpuacct") + V2_MOUNT,
            f"{own}/memory.limit_in_bytes": V1_NONE,
            f"{own}/memory.usage_in_bytes": 10 * MIB,
            f"{own}/memory.stat": f"total_inactive_file {2 * MIB}\n"
            f"hierarchical_memory_limit {50 * MIB}\n",
            f"{own}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
            f"{above}/memory.limit_in_bytes": 50 * MIB,
            f"{above}/memory.usage_in_bytes": 30 * MIB,
            f"{quota}/cpu.cfs_quota_us": 200_000,
            f"{quota}/cpu.cfs_period_us": 100_000,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100_000,
        },
    )
    assert cgroup.limits(tmp_path) == Cgroup(50 * MIB, 30 * MIB, 20 * MIB, 2.0, 4)


def test_version_1_in_a_container_knows_a_limit_set_above_its_mount(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/kubepods/pod1/c1\n",
            "proc/self/mountinfo": v1_mount("memory", "/kubepods/pod1/c1"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 10 * MIB,
            "sys/fs/cgroup/memory/memory.stat": f"hierarchical_memory_limit {90 * MIB}\n",
        },
    )
    assert cgroup.limits(tmp_path) == Cgroup(90 * MIB, 10 * MIB, 80 * MIB, None, 0)


def test_a_mount_point_may_hold_any_character(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": "30 23 0:26 / /my\\040mount\u2028x rw - cgroup2 none rw\n",
            "my mount\u2028x/memory.max": MIB,
            "my mount\u2028x/memory.current": 2 * MIB,
        },
    )
    assert cgroup.limits(tmp_path) == Cgroup(MIB, 2 * MIB, 0, None, 0)


def test_a_machine_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert cgroup.limits(tmp_path) == Cgroup(None, None, None, None, 0)


def test_processors_are_cut_to_the_quota_and_the_reason_is_said(tmp_path: Path) -> None:
    affinity = len(os.sched_getaffinity(0))
    assert cgroup.cpu_count(tmp_path) == cgroup.Cores(affinity, f"{affinity} from affinity")
    plant(tmp_path, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT})
    for quota, count, words in [
        (50_000, 1, "0.5 cores"),
        (100_000, 1, "1 core"),
        (150_000, min(2, affinity), "1.5 cores"),
        (100_000 * (affinity + 3), affinity, f"{affinity + 3} cores"),
    ]:
        plant(tmp_path, {"sys/fs/cgroup/cpu.max": f"{quota} 100000\n"})
        reason = f"{affinity} from affinity; cgroup quota {words}"
        assert cgroup.cpu_count(tmp_path) == cgroup.Cores(count, reason)


def test_a_narrowed_affinity_is_obeyed(nursery: Nursery) -> None:
    reading, writing = os.pipe()
    child = nursery.python(
        "import os, sys\n"
        "from tercio.system import cgroup\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "os.write(int(sys.argv[1]), str(cgroup.cpu_count().count).encode())",
        str(writing),
        pass_fds=[writing],
    )
    os.close(writing)
    assert read_all(reading) == "1"
    wait_end(child)


# The real thing

IN_A_GROUP = """
import json, os, select, sys
from dataclasses import asdict
from pathlib import Path
from tercio.system import cgroup, limits, process
group, report = Path(sys.argv[1]), int(sys.argv[2])
(group / 'cgroup.procs').write_text(str(os.getpid()))
before = cgroup.limits()
hog = process.spawn(
    [sys.executable, '-c', 'import sys; sys.stdin.read(1); block = bytearray(200 << 20)'],
    env={}, cwd='/',
)
limits.set_oom_score_adj(hog.pid, 1000)
select.select([hog], [], [])
result = {'before': asdict(before), 'end': str(hog.reap()), 'after': asdict(cgroup.limits())}
os.write(report, json.dumps(result).encode())
"""


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A memory group of this machine, limited to 60 MiB."""
    for top, limit in [
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ]:
        group = top / f"tercio-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(60 * MIB))
            except OSError:
                group.rmdir()
                continue
            yield group
            group.rmdir()
            return
    pytest.skip("memory groups can be made by root only, and where they are mounted writable")


def test_a_real_limit_and_a_real_kill_are_seen(nursery: Nursery, real_group: Path) -> None:
    reading, writing = os.pipe()
    child = nursery.python(IN_A_GROUP, str(real_group), str(writing), pass_fds=[writing])
    os.close(writing)
    result = json.loads(read_all(reading))
    wait_end(child)
    before, after = result["before"], result["after"]
    assert before["memory_limit"] == 60 * MIB
    assert 0 < before["memory_headroom"] <= 60 * MIB
    assert before["oom_kills"] == 0
    assert result["end"] == f"killed by {signal.SIGKILL.name}"
    assert after["oom_kills"] == 1


def test_the_limits_of_this_machine_can_be_read() -> None:
    seen = cgroup.limits()
    assert seen.oom_kills >= 0
    assert seen.memory_limit is None or seen.memory_headroom is not None
    assert seen.cpu_quota is None or seen.cpu_quota > 0
    assert cgroup.cpu_count().count >= 1
