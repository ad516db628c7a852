"""What workers share outlives them, and with --state-dir the cluster."""

from collections.abc import Callable

import pytest

from tests.cluster.harness import QUICK, Cluster

APP = """
import os
from tercio import cluster

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = str(await cluster.state.incr("hits")).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


def hits(cluster: Cluster) -> int:
    return int(cluster.get().text)


@pytest.mark.parametrize("engine", ["lmdb", "sqlite"])
def test_values_outlive_a_restart_with_a_state_dir(cluster: Cluster, engine: str) -> None:
    cluster.write_app(APP)
    cluster.environ["TERCIO_STATE_ENGINE"] = engine
    kept = str(cluster.directory / "kept")
    cluster.start("-w", "2", "--state-dir", kept, *QUICK)
    assert [hits(cluster) for _ in range(10)] == list(range(1, 11))
    assert cluster.stop() == 0
    cluster.start_again("-w", "2", "--state-dir", kept, *QUICK)
    assert hits(cluster) == 11


def test_without_one_the_state_is_the_clusters_and_leaves_nothing(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.environ["TMPDIR"] = str(cluster.directory)
    cluster.start("-w", "2", *QUICK)
    assert [hits(cluster) for _ in range(4)] == [1, 2, 3, 4]
    assert cluster.stop() == 0
    cluster.start_again("-w", "1", *QUICK)
    assert hits(cluster) == 1


def test_a_second_cluster_is_refused_a_directory_in_use(
    new_cluster: Callable[[], Cluster],
) -> None:
    first, second = new_cluster(), new_cluster()
    kept = str(first.directory / "kept")
    first.start("-w", "1", "--state-dir", kept, *QUICK)
    second.start("-w", "1", "--state-dir", kept, *QUICK, wait="")
    assert second.wait_end() == 1
    second.wait_line(f"is used by pid {first.pid}")
    assert first.get().status == 200
