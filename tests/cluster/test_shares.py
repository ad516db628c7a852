"""A server that counts its connections never sees more than `cluster.share` promised."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.chaos.tiers import trials
from tests.cluster.harness import QUICK, Cluster

TOTAL = 20  # of which each of 4 workers has 2, and 8 processes at most 16

APP = """
import os, socket
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tercio import cluster

SHARE = cluster.share(int(os.environ["TOTAL"]))

@asynccontextmanager
async def lifespan(app):
    address = ("127.0.0.1", int(os.environ["DATABASE"]))
    pool = [socket.create_connection(address) for _ in range(SHARE)]
    for each in pool:
        assert each.recv(2) == b"ok", "the database has too many connections"
    yield

async def share(request):
    return PlainTextResponse(str(SHARE))

app = Starlette(routes=[Route("/", share)], lifespan=lifespan)
"""


class Database:
    """Counts connections, and refuses those above its limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.now = self.most = self.refused = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                is_full = self.now >= self.limit
                self.refused += is_full
                self.now += not is_full
                self.most = max(self.most, self.now)
                self._changed.notify_all()
            if is_full:
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(b"ok")
                while connection.recv(100):
                    pass
            except OSError:  # it was killed
                pass
        with self._changed:
            self.now -= 1
            self._changed.notify_all()

    def wait(self, number: int) -> bool:
        """Until there are so many connections."""
        with self._changed:
            return self._changed.wait_for(lambda: self.now == number, 30)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listener.close()
        self._thread.join()


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database(TOTAL)
    yield made
    made.close()


def start(new_cluster: Callable[[], Cluster], database: Database, *options: str) -> Cluster:
    made = new_cluster()
    made.write_app(APP)
    made.environ |= {"DATABASE": str(database.port), "TOTAL": str(database.limit)}
    made.start(*QUICK, *options)
    return made


@pytest.mark.chaos("C14: never more than 2 processes a slot")
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_reloads_and_crashes_never_exceed_the_limit(
    new_cluster: Callable[[], Cluster], database: Database, preload: tuple[str, ...]
) -> None:
    cluster = start(new_cluster, database, "-w", "4", *preload)
    assert database.wait(8)
    for _ in trials("C14", 3, 50, 250):
        done = cluster.tercio("reload")
        assert done.returncode == 0, done.stderr
        assert database.wait(8)
    assert database.most == 16, "old and new ones were there at once"
    victim = cluster.pids()[1]
    os.kill(victim, signal.SIGKILL)
    cluster.until(
        lambda status: (
            sum(w["phase"] == "serving" and w["pid"] != victim for w in status["workers"]) == 4
        )
    )
    done = cluster.tercio("recycle", "all")
    assert done.returncode == 0, done.stderr
    assert database.wait(8)
    assert database.refused == 0
    assert database.most <= 16


def test_scaling_beyond_what_was_shared_is_refused_and_max_workers_allows_it(
    new_cluster: Callable[[], Cluster], database: Database
) -> None:
    small = start(new_cluster, database, "-w", "2")
    assert database.wait(2 * 5)
    small.tercio("scale", "3")
    status = small.until(lambda status: any(s["last_error"] for s in status["slots"]))
    assert "--max-workers" in str(status), "it says what to do"
    assert database.most == 10
    small.stop()
    assert database.wait(0)
    large = start(new_cluster, database, "-w", "2", "--max-workers", "3")
    assert database.wait(2 * 3)
    assert large.tercio("scale", "3").returncode == 0
    assert database.wait(3 * 3)
    assert database.refused == 0
