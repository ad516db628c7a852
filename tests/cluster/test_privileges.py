"""A cluster that root starts: it opens the address, workers are somebody else (threat T18)."""

import errno
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.system import rundir
from tests.cluster.harness import QUICK, Cluster
from tests.cluster.look import short_directory
from tests.cluster.places import with_open_home
from tests.cluster.probing import ask
from tests.cluster.test_sidecar import sidecar_pid, until_answers

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


@pytest.mark.parametrize("options", [(), ("--user", "root"), ("--no-allow-root",)])
def test_a_cluster_of_roots_is_refused(cluster: Cluster, options: tuple[str, ...]) -> None:
    del cluster.environ["TERCIO_ALLOW_ROOT"]
    cluster.start("-w", "1", *options, wait="")
    assert cluster.wait_end() == 2
    (said,) = cluster.lines
    for words in ("workers would run as root", "--user NAME", "--allow-root"):
        assert words in said


def test_a_cluster_of_roots_that_was_asked_for_says_so(cluster: Cluster) -> None:
    del cluster.environ["TERCIO_ALLOW_ROOT"]
    cluster.start("-w", "1", "--allow-root")
    cluster.wait_line("workers run as root: give them another user with --user")


def test_workers_of_another_user_need_no_leave(open_cluster: Cluster, tmp_path: Path) -> None:
    del open_cluster.environ["TERCIO_ALLOW_ROOT"]
    open_cluster.start("-w", "1", "--user", "nobody", prefix=with_open_home(tmp_path))
    assert open_cluster.get().status == 200


REGAIN = """
import json, os

def attempt(step):
    try:
        step()
    except OSError as error:
        return error.errno
    return 0

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    steps = [lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),
             lambda: os.setgroups([0]), lambda: os.seteuid(0), lambda: open("/etc/shadow"),
             lambda: os.kill(os.getppid(), 0)]
    # What a program gains by its set-user-ID bit: nothing.
    pid = os.posix_spawn("/bin/mount", ["mount"], os.environ) if os.path.exists("/bin/mount") else 0
    if pid:
        os.waitpid(pid, 0)
    body = json.dumps([attempt(step) for step in steps]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


def test_a_worker_that_tries_to_be_root_again_gets_nowhere(
    open_cluster: Cluster, tmp_path: Path
) -> None:
    open_cluster.write_app(REGAIN)
    open_cluster.start("-w", "1", "--user", "nobody", *QUICK, prefix=with_open_home(tmp_path))
    outcomes = json.loads(open_cluster.get().text)
    assert outcomes
    assert set(outcomes) <= {errno.EPERM, errno.EACCES, errno.ENOENT}
    # All processes: the primary stays what it was, every worker has lost each of its identities.
    for pid in open_cluster.pids().values():
        assert set(_status(pid, "CapPrm")) == set(_status(pid, "CapAmb")) == {"0" * 16}
        assert _status(pid, "NoNewPrivs") == ["1"]
    assert _status(open_cluster.pid, "Uid")[0] == "0"


def test_who_answers_strangers_is_not_root_either_and_nobody_looks_into_it(
    open_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = open_cluster
    token = secrets.token_urlsafe(32)
    file = cluster.directory / "tokens"
    file.touch(mode=0o600)  # as it is root's, only the primary can read it
    file.write_text(f"admin {token}\n")
    with short_directory() as directory:
        door = directory / "a"
        options = ("--admin", f"unix:{door}", "--admin-token-file", str(file))
        cluster.start(
            "-w", "1", "--user", "nobody", *QUICK, *options, prefix=with_open_home(tmp_path)
        )
        for is_second in (False, True):
            if is_second:
                os.kill(sidecar_pid(cluster), signal.SIGKILL)
            until_answers(door, "/api/v1/openapi.json")
            pid = sidecar_pid(cluster)
            for kind in ("Uid", "Gid"):
                assert set(_status(pid, kind)) == {str(NOBODY)}
            assert "0" not in _status(pid, "Groups")
            assert _status(pid, "NoNewPrivs") == ["1"]
            assert set(_status(pid, "CapPrm")) == set(_status(pid, "CapAmb")) == {"0" * 16}
            looked = subprocess.run(
                ["ls", f"/proc/{pid}/fd"], user=NOBODY, group=NOBODY, extra_groups=[],
                capture_output=True, text=True, check=False, cwd="/",
            )  # fmt: skip
            assert "Permission denied" in looked.stderr
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            assert ask(door, "/api/v1/status", headers=headers).status == 200
            body = b'{"wait": true}'
            assert ask(door, "/api/v1/reload", "POST", headers, body).status == 200
        file.write_text(f"admin {secrets.token_urlsafe(32)}\n")
        assert ask(door, "/api/v1/status", headers=headers).status == 401


def test_a_log_file_is_the_workers_to_open_again(open_cluster: Cluster, tmp_path: Path) -> None:
    logs = open_cluster.directory / "logs"
    logs.mkdir(mode=0o755)
    open_cluster.start(
        "-w", "1", "--user", "nobody", "--access-log-file", "logs/access.log", *QUICK,
        prefix=with_open_home(tmp_path),
    )  # fmt: skip
    assert (logs / "access.log").stat().st_uid == NOBODY
    assert (logs / "access.log").stat().st_mode & 0o777 == 0o640
    (logs / "access.log").rename(logs / "moved.log")
    os.kill(open_cluster.pid, signal.SIGUSR1)
    open_cluster.wait("LogsReopened")
    assert "WorkerWarning" not in open_cluster.kinds()
    assert open_cluster.ask("reload", wait=True)["generation"] == 2
    assert open_cluster.get().status == 200
    assert open_cluster.stop() == 0
    assert "GET /" in (logs / "access.log").read_text()


def test_a_link_in_the_workers_directory_is_not_followed_by_root(
    open_cluster: Cluster, tmp_path: Path
) -> None:
    target = open_cluster.directory / "target"
    target.write_text("")
    (open_cluster.directory / "access.log").symlink_to(target)
    open_cluster.start(
        "--user", "nobody", "--access-log-file", "access.log", wait="",
        prefix=with_open_home(tmp_path),
    )  # fmt: skip
    assert open_cluster.wait_end() == 2
    assert "it is a link" in "\n".join(open_cluster.lines)
    assert target.read_text() == ""


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
