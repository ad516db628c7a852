"""How many workers `auto` means."""

import pytest

from tercio.config import Config
from tercio.primary.policy import policy_of
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


def limit_of(config: Config, cgroup: Cgroup, workers: int) -> int:
    return policy_of(config, cgroup, workers, 16).limit_memory


def test_the_memory_limit_shares_a_limited_cgroup_and_leaves_room_for_a_successor() -> None:
    assert limit_of(Config(), limited(1000 * MB), 4) == int(1000 * MB * 0.9 / 5)
    assert limit_of(Config(), UNLIMITED, 4) == 0
    assert limit_of(Config(limit_max_memory=300 * MB), UNLIMITED, 4) == 300 * MB


def test_the_share_of_a_worker_follows_the_number_of_workers() -> None:
    policy = policy_of(Config(), limited(1000 * MB), 4, 16)
    assert policy.for_target(8).limit_memory == int(1000 * MB * 0.9 / 9)
    fixed = policy_of(Config(limit_max_memory=300 * MB), limited(1000 * MB), 4, 16)
    assert fixed.for_target(8).limit_memory == 300 * MB
