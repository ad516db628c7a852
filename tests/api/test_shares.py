"""The formula of `cluster.share`; that it holds is in tests/cluster/test_shares.py."""

import pytest

from tercio import cluster
from tercio.cluster import Membership, Worker
from tercio.cluster.shares import share_of
from tercio.config import Config
from tercio.errors import ConfigError


def worker(slot: int = 0, *, workers: int = 4, max_workers: int = 0) -> Membership:
    return Membership(
        "worker", Worker(slot), config=Config(workers=workers, max_workers=max_workers)
    )


@pytest.mark.parametrize(
    ("workers", "max_workers", "total", "share"),
    [(4, 0, 100, 12), (1, 0, 100, 50), (4, 0, 8, 1), (4, 10, 100, 5), (3, 0, 20, 3)],
)
def test_two_processes_of_each_slot_share(
    workers: int, max_workers: int, total: int, share: int
) -> None:
    member = worker(workers=workers, max_workers=max_workers)
    assert share_of(total, 0, member) == share
    assert 2 * max(workers, max_workers) * share <= total


def test_what_is_less_than_one_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"8 processes.*allow 8 or more, or lower --max-workers"):
        share_of(7, 0, worker())


def test_a_worker_that_the_others_have_not_counted_gets_none() -> None:
    assert share_of(100, 0, worker(3)) == 12
    with pytest.raises(ConfigError, match=r"number 5, .* share among 4: restart .* --max-workers"):
        share_of(100, 0, worker(4))
    assert share_of(100, 0, worker(4, max_workers=5)) == 10


def test_attached_processes_have_a_part_where_they_are_counted() -> None:
    attached = Membership("attached", config=Config(workers=4))
    with pytest.raises(ConfigError, match="attached=N"):
        share_of(100, 0, attached)
    assert share_of(100, 2, attached) == share_of(100, 2, worker()) == 10
    with pytest.raises(ConfigError, match="and 2 attached ones"):
        share_of(9, 2, worker())


@pytest.mark.parametrize("total", [0, -1, True, 2.5, "9"])
def test_a_budget_is_a_whole_number_above_0(total: int) -> None:
    with pytest.raises(ConfigError, match="whole number above 0"):
        share_of(total, 0, worker())


def test_a_plain_process_has_all_of_it() -> None:
    with cluster.fresh():
        assert cluster.share(7) == 7
