"""Fixtures of the cluster tests."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster

Report = dict[str, bool]


@pytest.fixture
def new_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Cluster]]:
    """Make clusters that are ended after the test, and must leave nothing behind."""
    made: list[Cluster] = []

    def make() -> Cluster:
        directory = tmp_path / f"cluster{len(made)}"
        directory.mkdir()
        made.append(Cluster(directory, uuid.uuid4().hex))
        return made[-1]

    yield make
    left = [(cluster, cluster.clean_up()) for cluster in made]
    if request.node.stash.get(FAILED, False):
        for cluster in made:
            print(cluster.story())
    for _, pids in left:
        assert not pids, f"processes were left behind: {pids}"


@pytest.fixture
def cluster(new_cluster: Callable[[], Cluster]) -> Cluster:
    """One cluster, not started yet."""
    return new_cluster()


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:  # type: ignore[attr-defined]
        item.stash[FAILED] = True
    return report
