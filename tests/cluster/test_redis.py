"""Over Redis: two clusters, as on two machines, share state and messages; and Redis may go away."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import QUICK, Cluster
from tests.cluster.test_messages import APP as MESSAGES
from tests.cluster.test_messages import listeners
from tests.cluster.test_shared_state import APP as STATE
from tests.engines.redis.valkey import Valkey

NewCluster = Callable[[], Cluster]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    yield server
    server.kill()


def started(cluster: Cluster, app: str, server: Valkey, *options: str) -> Cluster:
    cluster.write_app(app)
    return cluster.start(*QUICK, "-w", "2", "--stop-timeout", "2", "--redis", server.url, *options)


def test_two_clusters_share_a_counter(new_cluster: NewCluster, server: Valkey) -> None:
    one, other = (started(new_cluster(), STATE, server) for _ in range(2))
    answers = [int(each.get("/hit").text) for each in (one, other) * 10]
    assert answers == list(range(1, 21))
    assert one.status()["engine"] == "redis"


def test_a_message_reaches_the_clients_of_all_workers_of_both_clusters_once(
    new_cluster: NewCluster, server: Valkey
) -> None:
    one, other = (started(new_cluster(), MESSAGES, server) for _ in range(2))
    with listeners(one) as here, listeners(other) as there:
        every = [*here.values(), *there.values()]
        _until_bridged(one, other)
        for number in range(3):
            one.get(f"/publish?here-{number}")
            other.get(f"/publish?there-{number}")
        one.get("/publish?end")
        for listener in every:
            heard: list[str] = []
            while len(heard) < 7:
                line = listener.line()
                if not line.startswith("probe"):
                    heard.append(line)
            wanted = [f"{place}-{number}" for place in ("here", "there") for number in range(3)]
            assert sorted(heard) == sorted([*wanted, "end"])


def _until_bridged(one: Cluster, other: Cluster) -> None:
    """Messages are at most once: the bridges take a moment to subscribe."""
    for publisher in (one, other):
        publisher.get("/publish?probe")


def test_two_prefixes_are_two_worlds(new_cluster: NewCluster, server: Valkey) -> None:
    one = started(new_cluster(), STATE, server)
    other = started(new_cluster(), STATE, server, "--redis-prefix", "other:")
    assert [one.get("/hit").text, other.get("/hit").text] == ["1", "1"]


def test_workers_stay_ready_while_redis_is_away(cluster: Cluster, server: Valkey) -> None:
    started(cluster, STATE, server)
    assert cluster.get("/hit").text == "1"
    server.kill()
    assert cluster.get("/hit").status == 500
    assert cluster.get("/").status == 200
    assert cluster.status()["ready"] == 2
    server.start()
    while cluster.get("/hit").status != 200:
        pass  # it connects again within two seconds
    assert cluster.of("WorkerDied") == []


def test_a_worker_that_requires_redis_is_not_ready_without_it(
    cluster: Cluster, server: Valkey
) -> None:
    server.kill()
    cluster.write_app(STATE)
    options = ("--redis-required", "--ready-timeout", "1", "--redis", server.url)
    cluster.start(*QUICK, "-w", "1", *options, wait="")
    assert cluster.wait_end() == 1
    assert any("see --redis-required" in line for line in cluster.lines), cluster.lines


def test_the_password_is_shown_to_nobody(cluster: Cluster, tmp_path: Path) -> None:
    server = Valkey(tmp_path / "locked", "--requirepass", "hunter2hunter2")
    try:
        cluster.write_app(STATE)
        url = server.url.replace("unix://", "unix://:hunter2hunter2@")
        cluster.environ["TERCIO_REDIS"] = url
        cluster.start(*QUICK, "-w", "1")
        assert cluster.get("/hit").text == "1"
        shown = cluster.tercio("config").stdout + cluster.tercio("status", "--json").stdout
        server.kill()
        cluster.get("/hit")
        assert "hunter2" not in shown + "\n".join(cluster.lines)
    finally:
        server.kill()
