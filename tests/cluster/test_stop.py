"""A stop: it lets requests end, starts nothing, waits for nobody for ever, and is always obeyed."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.cluster.chaos.tiers import SLACK, luck, trials
from tests.cluster.harness import QUICK, Answer, Cluster, is_free
from tests.cluster.programs import faulty
from tests.cluster.releases import release
from tests.ports import free_port

KILL_GRACE = 1.0

CUT = re.compile("closed|reset|refused")
"""What a client hears of a worker that is gone."""


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    """Threads that hold requests open."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


def in_flight(status: dict[str, Any]) -> int:
    """How many requests are being worked on."""
    return sum(worker["in_flight"] for worker in status["workers"])


def open_request(cluster: Cluster, path: str, head: str = "") -> socket.socket:
    """Send a request and do nothing more."""
    connection = socket.create_connection(("127.0.0.1", cluster.port), timeout=30)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n{head}\r\n".encode())
    return connection


def open_websocket(cluster: Cluster) -> socket.socket:
    """A WebSocket whose client answers nothing, not even a close."""
    head = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    connection = open_request(cluster, "/", head)
    assert connection.recv(1000).startswith(b"HTTP/1.1 101")
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end, or to the reset."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


# What a stop lets end


@pytest.mark.chaos("C36")
def test_requests_that_run_when_a_stop_begins_end_as_if_there_were_none(
    new_cluster: Callable[[], Cluster], clients: ThreadPoolExecutor
) -> None:
    for number in trials("C36", 2, 20, 100):
        cluster = new_cluster()
        cluster.write_app(faulty())
        cluster.start("-w", "2", *QUICK)
        running = [clients.submit(cluster.get, f"/until/{n}") for n in range(5)]
        with open_post(cluster) as post:
            with connect(f"ws://127.0.0.1:{cluster.port}/", proxy=None) as websocket:
                cluster.until(lambda status: in_flight(status) == 6)
                began = time.monotonic()
                if number % 2:
                    cluster.signal(signal.SIGTERM)
                else:
                    # As a service manager does it that signals every process of the unit.
                    for pid in cluster.living():
                        os.kill(pid, signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as closed:
                    websocket.recv(timeout=30)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
                assert time.monotonic() - began < 1 * SLACK  # at the start, not when all is over
            post.sendall(b"second half")
            assert read_all(post).startswith(b"HTTP/1.1 200")
        ended = time.monotonic()
        for n in range(5):
            (cluster.directory / str(n)).touch()
        assert [answer.result().status for answer in running] == [200] * 5
        assert cluster.wait_end() == 0
        assert time.monotonic() - ended < KILL_GRACE * SLACK
        assert not cluster.of("RequestsCut")
        assert cluster.first("Stopped")["cut_requests"] == 0
        assert_nothing_started(cluster)


def open_post(cluster: Cluster) -> socket.socket:
    """A request whose body is not complete."""
    connection = socket.create_connection(("127.0.0.1", cluster.port), timeout=30)
    head = b"POST /sleep/0.1 HTTP/1.1\r\nHost: test\r\nContent-Length: 22\r\n\r\n"
    connection.sendall(head + b"first half,")
    return connection


def assert_nothing_started(cluster: Cluster) -> None:
    """No worker was started after the stop had begun."""
    began = cluster.first("StopStarted")["sequence"]
    late = [event for event in cluster.of("WorkerStarting") if event["sequence"] > began]
    assert not late


def test_a_worker_that_dies_during_a_stop_does_not_come_back(
    cluster: Cluster, clients: ThreadPoolExecutor
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", "--stable-after", "0")
    first = clients.submit(cluster.get, "/sleep/1.5")
    cluster.until(lambda status: in_flight(status) == 1)
    idle, busy = sorted(cluster.status()["workers"], key=lambda worker: worker["in_flight"])
    cluster.signal(signal.SIGTERM)
    cluster.wait("StopStarted")
    second = clients.submit(_fails, cluster)  # the port takes it, and nobody serves it
    os.kill(busy["pid"], signal.SIGKILL)
    with pytest.raises(OSError, match=CUT):
        first.result()
    assert cluster.wait_end() == 0
    second.result()
    assert_nothing_started(cluster)
    assert idle["pid"] != busy["pid"]


def _fails(cluster: Cluster) -> None:
    with pytest.raises(OSError, match=CUT):
        cluster.get("/")


def test_the_stop_delay_serves_on_before_anything_ends(
    cluster: Cluster, clients: ThreadPoolExecutor
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", "--stop-delay", "1.5")
    began = time.monotonic()
    cluster.signal(signal.SIGTERM)
    cluster.wait("StopStarted")
    assert cluster.get().status == 200
    assert not cluster.of("WorkerDraining")
    assert cluster.wait_end() == 0
    assert time.monotonic() - began >= 1.5


# What a stop does not wait for


def test_nothing_holds_a_stop_beyond_its_limit_and_what_was_cut_is_reported(
    cluster: Cluster,
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", "--stop-timeout", "1")
    endless = [open_request(cluster, "/endless") for _ in range(2)]
    stubborn = open_websocket(cluster)
    cluster.until(lambda status: in_flight(status) == 2)
    began = time.monotonic()
    assert cluster.stop() == 0
    assert 1 <= time.monotonic() - began < 1 + KILL_GRACE * SLACK
    cut = cluster.first("RequestsCut")
    assert cut["requests"] == 2
    assert cut["websockets"] == 1
    assert "/endless" in cut["paths"]
    stopped = cluster.first("Stopped")
    assert (stopped["cut_requests"], stopped["cut_websockets"]) == (2, 1)
    assert "cut 2 requests and 1 WebSockets" in stopped["text"]
    assert any("cut 2 requests" in line for line in cluster.lines)
    for connection in (*endless, stubborn):
        connection.close()


@pytest.mark.parametrize("way", ["block/100", "gil"])
def test_a_worker_that_hears_nothing_cannot_hold_a_stop_and_its_request_counts_as_cut(
    cluster: Cluster, way: str
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", "--stop-timeout", "0.5")
    with open_request(cluster, f"/{way}") as connection:
        cluster.until(lambda status: in_flight(status) == 1)
        began = time.monotonic()
        assert cluster.stop() == 0
        assert time.monotonic() - began < 0.5 + 2 * KILL_GRACE * SLACK
        assert read_all(connection) == b""
    assert cluster.first("WorkerKilled")["reason"] == "was not gone at the drain limit"
    assert cluster.first("Stopped")["cut_requests"] == 1


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
def test_the_second_signal_ends_the_cluster_at_once(
    cluster: Cluster, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2")
    with open_request(cluster, "/endless") as connection:
        cluster.until(lambda status: in_flight(status) == 1)
        cluster.signal(first)
        cluster.wait("StopStarted")
        began = time.monotonic()
        cluster.signal(second)
        assert cluster.wait_end() == code
        assert time.monotonic() - began < 1 * SLACK
        read_all(connection)
    assert cluster.first("StopForced")
    assert cluster.first("Stopped")["cut_requests"] == 1


# At any instant


@pytest.mark.chaos("C35")
def test_a_stop_is_obeyed_at_every_instant_of_the_boot(
    new_cluster: Callable[[], Cluster],
) -> None:
    chance = luck("C35")
    port = free_port()
    steps = trials("C35", 14, 200, 1000)
    longest = 1.0  # seconds; longer than a boot takes
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
    for step in steps:
        cluster = new_cluster()
        cluster.write_app(release("one", at_import="import time; time.sleep(0.2)"))
        cluster.start("--port", str(port), "-w", "2", wait="")
        time.sleep((step + chance.random()) * longest / len(steps))  # the fault's moment
        number = numbers[step % len(numbers)]
        began = time.monotonic()
        cluster.signal(number)
        code = cluster.wait_end()
        assert time.monotonic() - began < (1 + KILL_GRACE) * SLACK
        # Before there is a handler the signal itself ends the process: nothing was started then.
        assert code in (0, 130, -number), cluster.story()
        assert not cluster.living()
        assert is_free(port)
        # Python itself may say KeyboardInterrupt while the command line is being imported.
        assert not any("/tercio/primary/" in line for line in cluster.lines), cluster.story()


@pytest.mark.chaos("C14")
@pytest.mark.parametrize("moment", ["ReloadStarted", "WorkerReady", "ReloadTrial"])
def test_a_stop_during_a_reload_is_obeyed_at_once(
    cluster: Cluster, clients: ThreadPoolExecutor, moment: str
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", *QUICK, "--trial", "10")
    running: Future[Answer] = clients.submit(cluster.get, "/sleep/1")
    cluster.until(lambda status: in_flight(status) == 1)
    slow = "import time; time.sleep(100)" if moment == "ReloadStarted" else ""
    cluster.write_app(faulty(slow))
    since = cluster.newest()
    cluster.signal(signal.SIGHUP)
    cluster.wait(moment, since=since)
    began = time.monotonic()
    cluster.signal(signal.SIGTERM)
    assert cluster.wait_end() == 0
    assert time.monotonic() - began < (1 + KILL_GRACE) * SLACK
    assert running.result().status == 200
    assert_nothing_started(cluster)


def test_a_stop_does_not_wait_for_a_back_off(cluster: Cluster) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", "--backoff-base", "20")
    os.kill(cluster.pids()[0], signal.SIGKILL)
    cluster.wait("RestartDelayed")
    began = time.monotonic()
    assert cluster.stop() == 0
    assert time.monotonic() - began < (1 + KILL_GRACE) * SLACK


def test_an_application_whose_shut_down_hangs_is_ended_at_the_limit(cluster: Cluster) -> None:
    text = faulty().replace(
        'await send({"type": "lifespan.shutdown.complete"})', "await asyncio.sleep(1000)"
    )
    cluster.write_app(text)
    cluster.start("-w", "1", "--stop-timeout", "0.5")
    began = time.monotonic()
    assert cluster.stop() == 0
    assert time.monotonic() - began < 0.5 + 2 * KILL_GRACE * SLACK
