"""`tercio.testing` in a small project of its own: what an application's tests rely on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
from tercio import cluster

async def app(scope, receive, send):
    assert scope["type"] == "http"
    match scope["path"]:
        case "/hit":
            answer = await cluster.state.incr("hits")
        case "/mode":
            answer = cluster.mode
        case _:
            answer = cluster.worker.slot
    body = str(answer).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


class Project:
    """A directory with an application and its tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "shop.py").write_text(APP)

    def test(self, text: str) -> "subprocess.CompletedProcess[str]":
        """Run pytest over one file, as a user does: with nothing but what is installed."""
        (self.path / "test_shop.py").write_text(text)
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))}
        environ["TERCIO_ALLOW_ROOT"] = "1"
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, "--rootdir", str(self.path), "-c", os.devnull, str(self.path)],
            cwd=self.path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=110,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def assert_passed(done: "subprocess.CompletedProcess[str]", tests: int) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{tests} passed", done.stdout, re.MULTILINE), done.stdout


def test_each_test_has_a_state_a_bus_and_metrics_of_its_own(project: Project) -> None:
    done = project.test(
        """
import asyncio
import pytest
from tercio import cluster

@pytest.mark.parametrize("again", range(3))
def test_it_is_empty(again):
    assert cluster.mode == "local"
    assert cluster.sync.state.incr("hits") == 1
    assert asyncio.run(cluster.state.incr("hits")) == 2
    orders = cluster.metrics.counter("orders")
    orders.inc()
    assert cluster.metrics.read()["orders_total"] == 1

@pytest.mark.parametrize("again", range(2))
def test_messages_come_to_this_test_only(again):
    heard = []
    async def talk():
        cluster.bus.on("news.*", lambda topic, message: heard.append(message))
        async with cluster.bus.subscribe("news.*") as messages:
            cluster.bus.publish("news.today", again)
            assert await anext(messages) == again
    asyncio.run(talk())
    assert heard == [again]
"""
    )
    assert_passed(done, 5)


def test_the_clock_can_be_advanced(project: Project) -> None:
    done = project.test(
        """
import asyncio
import pytest
from tercio import cluster
from tercio.errors import LockLost

def test_a_value_expires(tercio_clock):
    state = cluster.sync.state
    state.set("basket", "books", ttl=60)
    assert 59 < state.ttl("basket") <= 60
    tercio_clock.advance(59)
    assert state.get("basket") == "books"
    tercio_clock.advance(2)
    assert state.get("basket") is None

def test_a_rate_limit_is_over(tercio_clock):
    state = cluster.sync.state
    assert [state.limit("login", 2, 60, kind="moving").allowed for _ in range(3)] == [
        True, True, False,
    ]
    tercio_clock.advance(60)
    assert state.limit("login", 2, 60, kind="moving").allowed

def test_who_waits_for_a_lock_gets_it_when_its_time_is_over(tercio_clock):
    async def main():
        with pytest.raises(LockLost):
            async with cluster.state.lock("door", ttl=60):
                waiting = asyncio.create_task(enter())
                await asyncio.sleep(0)
                tercio_clock.advance(61)
                await waiting
    async def enter():
        async with cluster.state.lock("door", ttl=60):
            pass
    asyncio.run(main())

def test_time_does_not_go_back(tercio_clock):
    with pytest.raises(ValueError, match="forward"):
        tercio_clock.advance(-1)
"""
    )
    assert_passed(done, 4)


def test_real_workers_count_together(project: Project) -> None:
    done = project.test(
        """
from tercio import cluster
from tercio.testing import workers

def test_hits():
    with workers("shop:app", n=3) as running:
        assert len(running.pids()) == 3
        assert {int(running.get("/hit")) for _ in range(30)} == set(range(1, 31))
        assert running.get("/mode") == b"worker"
        before = running.pids()
        running.kill(1)
        assert running.get_json("/hit") == 31
        running.reload()
        assert not set(running.pids()) & set(before)
        assert running.get_json("/hit") == 32
        assert "Tercio serves shop:app" in running.output()
    assert cluster.mode == "local"
    assert cluster.sync.state.get("hits") is None
"""
    )
    assert_passed(done, 1)


def test_an_application_that_cannot_start_says_why(project: Project) -> None:
    done = project.test(
        """
import pytest
from pathlib import Path
from tercio.errors import CouldNotStart
from tercio.testing import workers

def test_broken():
    Path("broken.py").write_text("import nowhere_to_be_found")
    with pytest.raises(CouldNotStart) as caught, workers("broken:app"):
        pass
    assert "Traceback (most recent call last)" in str(caught.value)
    assert "No module named 'nowhere_to_be_found'" in str(caught.value)

def test_wrong_option():
    with pytest.raises(CouldNotStart, match="--no-such-option"), workers(
        "shop:app", 2, "--no-such-option"
    ):
        pass

def test_too_slow():
    Path("slow.py").write_text("import time; time.sleep(100)")
    with pytest.raises(CouldNotStart, match="was not ready after 0.5 s"), workers(
        "slow:app", timeout=0.5
    ):
        pass
"""
    )
    assert_passed(done, 3)


def test_nothing_is_left_running(project: Project) -> None:
    done = project.test(
        """
import os
from pathlib import Path
from tercio.testing import workers

def test_pids():
    with workers("shop:app", n=2) as running:
        pids = [running.process.pid, *running.pids()]
        Path("pids").write_text(f"{running.directory} {' '.join(map(str, pids))}")
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")
    assert not running.directory.exists()

def test_a_failure_inside():
    with workers("shop:app", n=2) as running:
        pids = [running.process.pid, *running.pids()]
        Path("failed").write_text(" ".join(map(str, pids)))
        raise RuntimeError("on purpose")
"""
    )
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    for pid in (project.path / "failed").read_text().split():
        assert not Path(f"/proc/{pid}").exists()


def test_an_application_of_wsgi_uses_the_twin(project: Project) -> None:
    (project.path / "wsgi_shop.py").write_text(
        """
from tercio import cluster

def app(environ, start_response):
    hits = cluster.sync.state.incr("hits")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(hits).encode()]
"""
    )
    done = project.test(
        """
from tercio.testing import workers

def test_hits():
    with workers("wsgi_shop:app", n=2) as running:
        assert {running.get_json() for _ in range(20)} == set(range(1, 21))
"""
    )
    assert_passed(done, 1)
