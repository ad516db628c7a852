"""The process that answers probes: it tells the truth, comes back, and goes last."""

import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.look import short_directory
from tests.cluster.probing import ask
from tests.cluster.programs import faulty
from tests.ports import free_port

STUCK_STOP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def sidecar_pid(cluster: Cluster) -> int:
    primary = int(cluster.status()["pid"])
    children = Path(f"/proc/{primary}/task/{primary}/children").read_text().split()
    for child in map(int, children):
        if b"tercio.sidecar" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return 0


def until_answers(door: Path, target: str = "/livez") -> int:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask(door, target).status
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_probes_are_answered_and_nothing_else_is(cluster: Cluster) -> None:
    with short_directory() as directory:
        door = directory / "h"
        cluster.write_app(faulty())
        cluster.start("-w", "2", *QUICK, "--health", f"unix:{door}")
        for target in ("/livez", "/readyz", "/startupz"):
            assert ask(door, target).status == 200
            assert ask(door, target, "HEAD").body == b""
            assert ask(door, target, "POST").status == 405
        for target in ("/", "/api/v1/status", "/livez/", "/openapi.json"):
            assert ask(door, target).status == 404
        metrics = ask(door, "/metrics")
        assert b"tercio_workers_target 2.0" in metrics.body
        assert metrics.headers["content-type"].startswith("text/plain")
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        openmetrics = ask(door, "/metrics", headers=accept)
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
        assert openmetrics.body.endswith(b"# EOF\n")
        assert cluster.tercio("health").returncode == 0
        assert cluster.stop() == 0
        assert not door.exists()


def test_too_few_workers_are_not_ready_and_still_alive(cluster: Cluster) -> None:
    with short_directory() as directory:
        door = directory / "h"
        cluster.write_app(faulty())
        cluster.start("-w", "2", *QUICK, "--min-ready", "2", "--health", f"unix:{door}")
        # Stopped, not dead, a worker still counts; dead, it leaves one of the two that are needed.
        cluster.write_app("raise SystemExit(3)")
        os.kill(next(iter(cluster.pids().values())), signal.SIGKILL)
        cluster.wait("WorkerDied")
        answer = ask(door, "/readyz")
        assert answer.status == 503
        assert answer.body == b"1 of 2 workers serve, and 2 are needed\n"
        assert ask(door, "/livez").status == 200
        assert ask(door, "/startupz").status == 200
        assert cluster.tercio("health", "--live").returncode == 0
        ready = cluster.tercio("health", "--ready")
        assert (ready.returncode, "2 are needed" in ready.stderr) == (1, True)


def test_a_stop_is_told_until_its_end(cluster: Cluster) -> None:
    with short_directory() as directory:
        door = directory / "h"
        cluster.write_app(STUCK_STOP)
        cluster.start("-w", "1", "--stop-timeout", "30", "--health", f"unix:{door}")
        with socket.create_connection(("127.0.0.1", cluster.port), PATIENCE) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            cluster.until(lambda status: status["workers"][0]["in_flight"] == 1)
            os.kill(sidecar_pid(cluster), signal.SIGTERM)  # it obeys its pipe alone
            cluster.signal(signal.SIGTERM)
            cluster.wait("StopStarted")
            answer = ask(door, "/readyz")
            assert (answer.status, answer.body) == (503, b"the cluster is stopping\n")
            assert ask(door, "/livez").status == 200
            cluster.signal(signal.SIGTERM)
            cluster.wait_end()


def test_it_comes_back_when_it_was_killed(cluster: Cluster) -> None:
    with short_directory() as directory:
        door = directory / "h"
        cluster.write_app(faulty())
        cluster.start("-w", "1", *QUICK, "--health", f"unix:{door}")
        old = sidecar_pid(cluster)
        os.kill(old, signal.SIGKILL)
        cluster.wait("SidecarDied")
        assert until_answers(door) == 200
        assert sidecar_pid(cluster) not in (0, old)
        assert cluster.get("/").status == 200
        assert cluster.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc shows who is there")
def test_it_ends_with_a_primary_that_is_killed(cluster: Cluster) -> None:
    with short_directory() as directory:
        door = directory / "h"
        cluster.write_app(faulty())
        cluster.start("-w", "1", *QUICK, "--health", f"unix:{door}")
        assert ask(door, "/livez").status == 200
        cluster.signal(signal.SIGKILL)
        cluster.wait_no_processes()


def test_a_taken_address_is_told_before_any_worker_starts(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cluster.write_app(faulty())
        cluster.start("-w", "1", *QUICK, "--health", f"127.0.0.1:{port}", wait="")
        assert cluster.wait_end() == 1
    assert f"127.0.0.1:{port} is in use" in cluster.story()
    assert "worker 0" not in cluster.story()


def test_without_a_cluster_the_answer_of_a_probe_is_1(cluster: Cluster) -> None:
    assert cluster.tercio("health").returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address")
def test_a_stranger_with_many_connections_keeps_no_probe_out(cluster: Cluster) -> None:
    port = free_port()
    cluster.write_app(faulty())
    cluster.start("-w", "1", *QUICK, "--health", f"127.0.0.1:{port}")
    with ExitStack() as stack:
        for _ in range(300):
            with suppress(ConnectionError):  # on all but a few it hangs up at once
                held = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                held.sendall(b"GET /livez HTTP/1.1\r\n")
        source = ("127.0.0.2", 0)
        with socket.create_connection(("127.0.0.1", port), PATIENCE, source) as probe:
            probe.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert probe.recv(1000).startswith(b"HTTP/1.1 200 ")
