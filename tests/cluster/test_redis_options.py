"""What ``--redis`` and its fellows do to a cluster, and what they must not show."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import QUICK, Cluster
from tests.cluster.test_shared_state import APP
from tests.engines.redis.valkey import Valkey

MakeServer = Callable[..., Valkey]


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    servers: list[Valkey] = []
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short

        def make(*options: str) -> Valkey:
            servers.append(Valkey(Path(directory) / str(len(servers)), *options))
            return servers[-1]

        yield make
        for server in servers:
            server.kill()


def test_two_prefixes_are_two_worlds(
    new_cluster: Callable[[], Cluster], make_server: MakeServer
) -> None:
    server = make_server()
    answers = []
    for prefix in ("one:", "other:"):
        cluster = new_cluster()
        cluster.write_app(APP)
        cluster.start(*QUICK, "-w", "1", "--redis", server.url, "--redis-prefix", prefix)
        answers.append(cluster.get("/hit").text)
        assert cluster.status()["engine"] == "redis"
    assert answers == ["1", "1"]


def test_a_worker_that_requires_redis_is_not_ready_without_it(
    cluster: Cluster, make_server: MakeServer
) -> None:
    server = make_server()
    server.kill()
    cluster.write_app(APP)
    options = ("--redis-required", "--ready-timeout", "1", "--redis", server.url)
    cluster.start(*QUICK, "-w", "1", *options, wait="")
    assert cluster.wait_end() == 1
    assert any("see --redis-required" in line for line in cluster.lines), cluster.lines


def test_the_password_is_shown_to_nobody(cluster: Cluster, make_server: MakeServer) -> None:
    server = make_server("--requirepass", "hunter2hunter2")
    cluster.write_app(APP)
    cluster.environ["TERCIO_REDIS"] = server.url.replace("unix://", "unix://:hunter2hunter2@")
    cluster.start(*QUICK, "-w", "1")
    assert cluster.get("/hit").text == "1"
    shown = cluster.tercio("config").stdout + cluster.tercio("status", "--json").stdout
    server.kill()
    assert cluster.get("/hit").status == 500
    assert "hunter2" not in shown + "\n".join(cluster.lines)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://host:99999", "a port is 1 to 65535"),
        ("rediss://localhost?ssl_ca_certs=/nowhere", "/nowhere"),
        ("redis://localhost/first", "the number of a database"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_at_once(
    cluster: Cluster, url: str, words: str
) -> None:
    cluster.write_app(APP)
    cluster.start("--redis", url, wait="")
    assert cluster.wait_end() == 2
    assert words in "\n".join(cluster.lines)
    assert len(cluster.lines) == 1
