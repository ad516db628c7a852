"""Messages between real workers, from programs that are none, and across seat changes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tercio.options import ATTACH_VARIABLE
from tests.cluster.harness import PATIENCE, QUICK, Cluster

APP = """
import asyncio, os
from tercio import cluster

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                cluster.bus.publish("news.end", f"last words of {os.getpid()}")
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"text/event-stream")]})
    if scope["path"] == "/publish":
        cluster.bus.publish("news.web", scope["query_string"].decode())
        await cluster.bus.flush()
        await send({"type": "http.response.body", "body": b"sent"})
        return
    async with cluster.bus.subscribe("news.*") as messages:
        await send({"type": "http.response.body", "body": b"%d\\n" % os.getpid(),
                    "more_body": True})
        async for message in messages:
            await send({"type": "http.response.body", "body": message.encode() + b"\\n",
                        "more_body": True})
"""


class Listener:
    """A client that reads a stream of lines from the worker that took its connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.sendall(b"GET /listen HTTP/1.0\r\nHost: test\r\n\r\n")
        self._file = self._socket.makefile("rb")
        while self._file.readline() != b"\r\n":
            pass
        self.pid = int(self.line())

    def line(self) -> str:
        return self._file.readline().decode().strip()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def listeners(cluster: Cluster) -> Iterator[dict[int, Listener]]:
    """One on each worker that serves, by pid."""
    with ExitStack() as stack:
        found: dict[int, Listener] = {}
        wanted = set(cluster.pids().values())
        for _ in range(1000):
            if found.keys() >= wanted:
                break
            listener = Listener(cluster.port)
            stack.callback(listener.close)
            found.setdefault(listener.pid, listener)
        assert found.keys() == wanted
        yield found


def execute(cluster: Cluster, code: str) -> "subprocess.CompletedProcess[str]":
    """Run a program attached to the cluster."""
    tercio = [sys.executable, "-m", "tercio", "exec", "--runtime-dir", str(cluster.runtime)]
    return subprocess.run(
        [*tercio, "--", sys.executable, "-c", code],
        env=cluster.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def started(cluster: Cluster) -> Cluster:
    cluster.write_app(APP)
    return cluster.start(*QUICK, "-w", "4", "--stop-timeout", "2")


def test_what_a_worker_publishes_reaches_the_clients_of_all(started: Cluster) -> None:
    with listeners(started) as found:
        for number in range(3):
            started.get(f"/publish?message-{number}")
        for listener in found.values():
            # Of several publishers: there is an order for each of them only.
            heard = sorted(listener.line() for _ in range(3))
            assert heard == [f"message-{number}" for number in range(3)]


def test_an_attached_program_reaches_the_clients_of_all_workers(started: Cluster) -> None:
    with listeners(started) as found:
        done = execute(
            started,
            "from tercio import cluster; assert cluster.mode == 'attached'\n"
            "cluster.bus.publish('news.task', 'from a task')",
        )
        assert done.returncode == 0, done.stderr
        started.get("/publish?end")
        for listener in found.values():
            assert sorted((listener.line(), listener.line())) == ["end", "from a task"]
    started.until(lambda status: not status["attached"])


def test_a_replaced_worker_joins_at_once(started: Cluster) -> None:
    pid = started.pids()[0]
    os.kill(pid, signal.SIGKILL)
    started.until(lambda status: len(set(started.pids().values()) - {pid}) == 4)
    with listeners(started) as found:
        started.get("/publish?hello")
        assert [listener.line() for listener in found.values()] == ["hello"] * 4


def test_what_a_worker_says_last_is_heard(started: Cluster) -> None:
    with listeners(started) as found:
        (victim, _), (_, witness) = list(found.items())[:2]
        slot = next(slot for slot, pid in started.pids().items() if pid == victim)
        found[victim].close()
        started.ask("recycle", slots=[slot])
        assert witness.line() == f"last words of {victim}"


def test_the_children_of_an_attached_program_attach_by_themselves(started: Cluster) -> None:
    code = """
import os
from tercio import cluster
cluster.bus.publish("news.parent", "parent")
assert cluster.sync.state.incr("uses") == 1
pid = os.fork()
if pid == 0:
    assert cluster.mode == "attached"
    assert cluster.sync.state.incr("uses") == 2
    cluster.bus.publish("news.child", "child")
    import asyncio
    asyncio.run(cluster.bus.flush())
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
cluster.bus.publish("news.parent", "parent again")
assert cluster.sync.state.incr("uses") == 3
"""
    with listeners(started) as found:
        done = execute(started, code)
        assert done.returncode == 0, done.stderr
        for listener in found.values():
            said = [listener.line() for _ in range(3)]
            assert sorted(said) == ["child", "parent", "parent again"]


@pytest.mark.parametrize("is_kept", [False, True], ids=["in memory", "state-dir"])
def test_an_attached_program_attaches_again_after_a_restart(
    cluster: Cluster, tmp_path: Path, is_kept: bool
) -> None:
    kept = ("--state-dir", str(tmp_path / "state")) if is_kept else ()
    options = (*QUICK, "--stop-timeout", "2", *kept)
    cluster.write_app(APP)
    started = cluster.start(*options, "-w", "2")
    code = """
import os, sys
from tercio import cluster

uses = cluster.metrics.counter("uses")  # as modules do: it counts wherever this process belongs

def use():
    cluster.bus.publish("news.again", "here I am")
    uses.inc()
    assert 'uses_total 1.0' in cluster.metrics.text(), cluster.metrics.text()
    return cluster.sync.state.incr("uses")

first = cluster.state
print(cluster.mode, use(), flush=True)
descriptors = len(os.listdir("/proc/self/fd"))
sys.stdin.readline()
while cluster.state is first:  # until the end of the cluster is noticed
    uses.inc(0)
print(cluster.mode, use(), flush=True)
print(len(os.listdir("/proc/self/fd")) - descriptors, flush=True)
"""
    environ = {**started.environ, ATTACH_VARIABLE: str(started.control.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "attached 1\n"
        assert started.stop() == 0
        started.start_again(*options, "-w", "1")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"attached {2 if is_kept else 1}\n"
        assert process.stdout.readline() == "0\n", "descriptors of the old cluster are open"
        assert process.wait(60) == 0
