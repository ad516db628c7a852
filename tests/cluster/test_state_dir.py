"""What workers share outlives them, and with --state-dir the cluster."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.harness import QUICK, Cluster
from tests.cluster.places import AS_NOBODY, READ_ONLY, with_open_home

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root makes such places"
)

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


@needs_root
@pytest.mark.parametrize("engine", ["lmdb", "sqlite"])
def test_as_nobody_in_memory_that_others_fill_the_state_stays_exact(
    cluster: Cluster, tmp_path: Path, engine: str
) -> None:
    cluster.write_app(APP)
    cluster.environ["TERCIO_STATE_ENGINE"] = engine
    for place in (cluster.directory, *cluster.directory.parents):
        if str(place) not in ("/", "/tmp"):
            place.chmod(place.stat().st_mode | 0o055)
    for name in ("HOME", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "TMPDIR"):
        cluster.environ.pop(name, None)
    prefix = (*with_open_home(tmp_path), *READ_ONLY, *AS_NOBODY)
    cluster.start("-w", "2", *QUICK, "--runtime-dir", "", prefix=prefix, wait="")
    cluster.wait_line("all 2 workers serve")
    memory = Path(f"/proc/{cluster.pid}/root/dev/shm")  # its mounts are its own
    (found,) = memory.glob("tercio*/*/control.sock")
    cluster.runtime = found.parent.parent
    cluster.follow()
    cluster.wait("ClusterReady")
    assert [hits(cluster) for _ in range(10)] == list(range(1, 11))
    workers = set(cluster.pids())
    with contextlib.suppress(OSError), (memory / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1 << 16))
    counted = 10
    for _ in range(50):
        answer = cluster.get()
        assert answer.status in (200, 500)
        if answer.status == 200:
            counted += 1
            assert int(answer.text) == counted
    (memory / "filler").unlink()
    assert [hits(cluster) for _ in range(10)] == list(range(counted + 1, counted + 11))
    assert set(cluster.pids()) == workers, "nobody died of it"
    os.kill(cluster.pids()[0], signal.SIGKILL)
    cluster.wait("WorkerDied")
    cluster.until(lambda status: status["ready"] == 2)
    assert hits(cluster) == counted + 11
    assert cluster.stop() == 0
