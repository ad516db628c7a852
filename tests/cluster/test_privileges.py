"""A cluster that root starts: it opens the address, workers are somebody else (threat T18)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.system import rundir
from tests.cluster.harness import QUICK, Cluster
from tests.cluster.places import with_open_home

NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can become somebody else"
)


@pytest.fixture
def open_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster in a directory that everybody may read."""
    directory = Path(tempfile.mkdtemp(prefix="tercio-test-"))
    directory.chmod(0o755)
    cluster.directory = directory
    yield cluster
    cluster.clean_up()
    shutil.rmtree(directory)


def _status(pid: int, key: str) -> list[str]:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{key}:\s*(.*)$", text, re.MULTILINE)
    assert match is not None
    return match.group(1).split()


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["plain", "preload"])
def test_workers_run_as_the_user_asked_for_and_cannot_go_back(
    open_cluster: Cluster, tmp_path: Path, more: tuple[str, ...]
) -> None:
    cluster = open_cluster
    options = ("-w", "2", "--user", "nobody", *more, *QUICK)
    cluster.start(*options, prefix=with_open_home(tmp_path))
    templates = [template["pid"] for template in cluster.status()["templates"]]
    assert len(templates) == len(more)
    for pid in (*cluster.pids().values(), *templates):
        assert set(_status(pid, "Uid")) == {str(NOBODY)}
        assert set(_status(pid, "Gid")) == {str(NOBODY)}
        assert "0" not in _status(pid, "Groups")
        assert _status(pid, "NoNewPrivs") == ["1"]
        assert set(_status(pid, "CapEff")) == {"0000000000000000"}
    assert cluster.get().status == 200
    assert cluster.ask("reload", wait=True)["generation"] == 2
    assert cluster.get().status == 200
    assert "workers run as root" not in "\n".join(cluster.lines)
    os.kill(cluster.pid, 9)
    cluster.wait_end()
    cluster.wait_no_processes()


def test_a_cluster_of_roots_says_so(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    cluster.wait_line("workers run as root: give them another user with --user")


def test_an_unknown_user_is_a_configuration_error(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--user", "no-such-user-here", wait="")
    assert cluster.wait_end() == 2
    assert "there is no such user" in "\n".join(cluster.lines)


OFFLOADING = """
import json
from tercio import cluster
import jobs

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    what = jobs.count if scope["path"] == "/count" else jobs.ask
    body = json.dumps(await cluster.offload(what)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

JOBS = """
import json, os, socket
from tercio import cluster
from tercio.options import ATTACH_VARIABLE

def count():
    cluster.metrics.counter("children").inc()
    return [cluster.mode, os.geteuid(), cluster.sync.state.incr("children")]

def ask(place=None):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect((place or os.environ[ATTACH_VARIABLE]) + "/NAME")
        connection.sendall(json.dumps({"version": VERSION, "do": "DO"}).encode() + b"\\n")
        return [os.environ.get(ATTACH_VARIABLE), connection.makefile().readline()]
"""


def _jobs(do: str) -> str:
    return (
        JOBS.replace("VERSION", repr(rundir.PROTOCOL))
        .replace("NAME", rundir.CONTROL)
        .replace("DO", do)
    )


def test_offloaded_calls_of_another_user_belong_to_the_cluster(
    open_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = open_cluster
    cluster.write_app(OFFLOADING)
    cluster.write_app(_jobs("status"), "jobs.py")
    cluster.start("-w", "1", "--user", "nobody", *QUICK, prefix=with_open_home(tmp_path))
    assert json.loads(cluster.get("/count").text) == ["attached", NOBODY, 1]
    (child,) = cluster.status()["attached"]
    assert set(_status(child["pid"], "Uid")) == {str(NOBODY)}
    # The same socket takes no orders, of a child of a worker even.
    place, answer = json.loads(cluster.get("/ask").text)
    assert json.loads(answer)["error"] == "here a process can only attach"
    # Who is that user, and was not started by a worker, gets nothing: root neither.
    ask = f"exec({_jobs('attach')!r}); print(ask({place!r})[1], end='')"
    enter = ["nsenter", f"--target={cluster.pid}", "--mount"]
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    for who in ([], become):
        said = subprocess.check_output([*enter, *who, sys.executable, "-c", ask], text=True)
        assert "only processes that a worker has started" in json.loads(said)["error"]
    assert cluster.stop() == 0
    assert not os.path.exists(place)
