"""How many workers `auto` means."""

import pytest

from tercio.config import Config
from tercio.primary.policy import memory_limit
from tercio.primary.sizing import size_of
from tercio.system.cgroup import Cgroup, Cores

UNLIMITED = Cgroup(None, None, None, None, 0)
CORES = Cores(8, "8 from affinity")
MB = 1 << 20


def limited(bytes_: int) -> Cgroup:
    return Cgroup(bytes_, 0, bytes_, None, 0)


def test_auto_is_one_a_core_and_says_why() -> None:
    size = size_of(Config(), CORES, UNLIMITED)
    assert (size.workers, size.most, size.why) == (8, 16, "auto: 8 from affinity")


def test_auto_starts_no_more_than_the_cgroup_has_memory_for() -> None:
    size = size_of(Config(), CORES, limited(400 * MB))
    assert size.workers == 3
    assert "419 MB" in size.why


def test_auto_is_never_none() -> None:
    assert size_of(Config(), CORES, limited(10 * MB)).workers == 1


@pytest.mark.parametrize(("asked", "most"), [(1, 16), (12, 24), (40, 80)])
def test_max_workers_is_twice_the_workers_or_sixteen(asked: int, most: int) -> None:
    size = size_of(Config(workers=asked), Cores(4, ""), UNLIMITED)
    assert (size.workers, size.most, size.why) == (asked, most, "as asked")


def test_the_memory_limit_shares_a_limited_cgroup_and_leaves_room_for_a_successor() -> None:
    assert memory_limit(Config(), limited(1000 * MB), 4) == int(1000 * MB * 0.9 / 5)
    assert memory_limit(Config(), UNLIMITED, 4) == 0
    assert memory_limit(Config(limit_max_memory=300 * MB), UNLIMITED, 4) == 300 * MB
