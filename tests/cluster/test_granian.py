"""A reload of workers that granian serves loses no request of clients that never try again."""

import importlib.util
import signal

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.load import Load
from tests.cluster.releases import release

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("granian") is None,
    reason="our use of granian needs Linux's epoll, so it is installed there only",
)

OPTIONS = ("-w", "2", "--server", "granian", "--soak", "0.1", "--trial", "0.3")


def test_reloads_lose_nothing(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start(*OPTIONS, "--drain-timeout", "3", "--drain-quiet", "0.5", "--no-access-log")
    with Load(cluster.port, fresh=2, kept=8, posts=1, websockets=2) as load:
        load.wait_for(100)
        for name in ("two", "three"):
            cluster.write_app(release(name))
            since = cluster.newest()
            cluster.signal(signal.SIGHUP)
            cluster.wait("ReloadCommitted", since=since)
            load.wait_for(100)
    assert load.failures == []
    assert set(load.tally.releases) == {"one", "two", "three"}
    assert cluster.stop() == 0
