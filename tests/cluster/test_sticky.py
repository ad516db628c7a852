"""With --sticky all requests of a session come to one worker, as long as that worker lives."""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect as connect_websocket

from tests.cluster.chaos.tiers import SLACK
from tests.cluster.harness import PATIENCE, QUICK, Cluster

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its connections move by Linux")

APP = """
import time
from tercio import cluster

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": cluster.worker.id})
        await send({"type": "websocket.close"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    text = f"{cluster.worker.id} {size}"
    if scope["path"] == "/new":
        text = f"{cluster.worker.id} {cluster.worker.affinity_token()}"
    body = text.encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""

BY_COOKIE = ("--sticky", "cookie:session")


class Client:
    """One kept connection."""

    def __init__(self, cluster: Cluster, stack: ExitStack) -> None:
        address = ("127.0.0.1", cluster.port)
        self.socket = stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
        self._came = b""

    def ask(self, target: str = "/", *lines: str, body: bytes = b"") -> tuple[str, str]:
        """The worker that answers, and what it says besides."""
        self.send(target, *lines, body=body)
        return self.answer()

    def send(self, target: str = "/", *lines: str, body: bytes = b"") -> None:
        length = f"Content-Length: {len(body)}"
        head = "\r\n".join([f"POST {target} HTTP/1.1", "Host: here", length, *lines, "", ""])
        self.socket.sendall(head.encode() + body)

    def answer(self) -> tuple[str, str]:
        while (found := re.match(rb"(?s)(.*?)\r\n\r\n(.*)", self._came)) is None:
            self._read()
        head = found[1]
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        size = len(head) + 4 + int(length[1])
        while len(self._came) < size:
            self._read()
        body, self._came = self._came[len(head) + 4 : size], self._came[size:]
        worker, _, text = body.decode().partition(" ")
        return worker, text

    def _read(self) -> None:
        part = self.socket.recv(65536)
        assert part, "closed without an answer"
        self._came += part


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(cluster: Cluster, *options: str, workers: int = 3, app: str = APP) -> Cluster:
    cluster.write_app(app)
    cluster.start("-w", str(workers), *QUICK, "--no-access-log", *options)
    # Sessions are of those who say that they serve, which one does when it has heard the order.
    cluster.until(lambda status: sum(worker["accepts"] for worker in status["workers"]) == workers)
    return cluster


def everywhere(cluster: Cluster, stack: ExitStack) -> list[Client]:
    """Kept connections, some at each worker."""
    clients: list[Client] = []
    while len({client.ask()[0] for client in clients}) < len(cluster.pids()):
        clients.append(Client(cluster, stack))
    return clients


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_session_goes_to_the_worker_that_made_it_over_whatever_connection(
    cluster: Cluster, stack: ExitStack, loop: str
) -> None:
    start(cluster, "--sticky", "query:sid", *BY_COOKIE, "--sticky", "header:X-Id", "--loop", loop)
    clients = everywhere(cluster, stack)
    sessions = dict(client.ask("/new") for client in clients)
    assert len(sessions) == 3
    for home, session in sessions.items():
        for size, client in enumerate(clients):
            body = b"x" * (size * 50_000)  # more than a message between workers holds
            found = [
                client.ask(f"/?a=b&sid={session}", body=body),
                client.ask("/", f"Cookie: other=1; session={session}", body=body),
                client.ask("/", f"x-id: {session}", body=body),
            ]
            assert found == [(home, str(len(body)))] * 3


def test_a_key_that_the_application_did_not_mint_has_one_home_too(
    cluster: Cluster, stack: ExitStack
) -> None:
    """100 clients behind one address use all workers, and about evenly."""
    start(cluster, *BY_COOKIE, workers=4)
    clients = everywhere(cluster, stack)
    homes = Counter[str]()
    for number in range(100):
        cookie = f"Cookie: session=user-{number}"
        found = {client.ask("/", cookie)[0] for client in (clients[number % 4], clients[-1])}
        found.add(Client(cluster, stack).ask("/", cookie)[0])
        assert len(found) == 1, number
        homes.update(found)
    assert len(homes) == 4
    assert max(homes.values()) <= 3 * min(homes.values()), homes


def test_a_client_may_be_known_by_its_address_behind_a_proxy(
    cluster: Cluster, stack: ExitStack
) -> None:
    start(cluster, "--sticky", "ip")
    clients = [Client(cluster, stack) for _ in range(6)]
    assert len({client.ask()[0] for client in clients}) == 1
    homes = set()
    for number in range(30):
        line = f"X-Forwarded-For: 10.0.0.{number}"
        found = {client.ask("/", line)[0] for client in clients}
        assert len(found) == 1
        homes |= found
    assert len(homes) == 3


def test_requests_without_a_key_stay_where_they_are(cluster: Cluster, stack: ExitStack) -> None:
    start(cluster, *BY_COOKIE)
    clients = everywhere(cluster, stack)
    homes = [client.ask()[0] for client in clients]
    assert [client.ask("/", "Cookie: other=1")[0] for client in clients] == homes


def test_a_head_may_come_in_any_two_pieces(cluster: Cluster, stack: ExitStack) -> None:
    start(cluster, *BY_COOKIE, workers=2)
    client = Client(cluster, stack)
    home = client.ask("/", "Cookie: session=x")[0]
    others = (f"Cookie: session=other-{number}" for number in range(100))
    other = next(each for each in others if client.ask("/", each)[0] != home)
    request = b"GET / HTTP/1.1\r\nHost: here\r\nCookie: session=x\r\n\r\n"
    for cut in range(1, len(request)):
        assert client.ask("/", other)[0] != home
        client.socket.sendall(request[:cut])
        client.socket.sendall(request[cut:])
        assert client.answer() == (home, "0")


def test_requests_that_are_sent_ahead_are_answered_in_order(
    cluster: Cluster, stack: ExitStack
) -> None:
    start(cluster, *BY_COOKIE)
    for client in everywhere(cluster, stack):
        for size in range(20):
            client.send("/", f"Cookie: session=user-{size % 3}", body=b"x" * size)
        assert [client.answer()[1] for _ in range(20)] == [str(size) for size in range(20)]


def test_a_websocket_is_opened_by_the_worker_of_its_session(
    cluster: Cluster, stack: ExitStack
) -> None:
    start(cluster, *BY_COOKIE)
    home = Client(cluster, stack).ask("/", "Cookie: session=x")[0]
    for _ in range(12):
        url = f"ws://127.0.0.1:{cluster.port}/"
        with connect_websocket(url, additional_headers={"Cookie": "session=x"}) as websocket:
            assert websocket.recv(PATIENCE) == home


def test_sessions_of_a_killed_worker_go_on_elsewhere_without_an_error(
    cluster: Cluster, stack: ExitStack
) -> None:
    start(cluster, *BY_COOKIE)
    keys = [f"Cookie: session=user-{number}" for number in range(30)]
    homes = {key: Client(cluster, stack).ask("/", key)[0] for key in keys}
    killed = cluster.status()["workers"][1]
    os.kill(killed["pid"], signal.SIGKILL)
    cluster.wait("WorkerDied")
    after = {key: Client(cluster, stack).ask("/", key)[0] for key in keys}
    assert killed["worker"] not in after.values()
    assert all(after[key] == home for key, home in homes.items() if home != killed["worker"])


def test_a_worker_that_leaves_keeps_its_sessions_while_they_are_used(
    cluster: Cluster, stack: ExitStack
) -> None:
    """In a reload the new workers serve all others; at the end a session begins anew."""
    start(cluster, *BY_COOKIE, "--drain-timeout", "10")
    keys = [f"Cookie: session=user-{number}" for number in range(6)]
    homes = {key: Client(cluster, stack).ask("/", key)[0] for key in keys}
    cluster.ask("reload", wait=False)
    cluster.wait("WorkerDraining", 3)
    old = {worker["worker"] for worker in cluster.status()["workers"]} & set(homes.values())
    assert old
    kept = {key: Client(cluster, stack).ask("/", key)[0] for key in keys}
    assert all(kept[key] == home for key, home in homes.items() if home in old)
    while (now := Client(cluster, stack).ask("/", keys[0])[0]) == homes[keys[0]]:
        pass
    assert now not in homes.values()
    assert Client(cluster, stack).ask("/", keys[0])[0] == now


def test_no_request_of_a_session_fails_while_its_worker_ends(
    cluster: Cluster, stack: ExitStack
) -> None:
    """Neither at the drain's limit nor in the application's shut-down after it."""
    slow = APP.replace("await send({", "time.sleep(0.3); await send({", 1)
    start(cluster, *BY_COOKIE, "--drain-timeout", "2", workers=2, app=slow)
    is_over = threading.Event()

    def poll(number: int) -> list[str]:
        client = Client(cluster, stack)
        seen = []
        while not is_over.is_set():
            seen.append(client.ask("/", f"Cookie: session=user-{number}")[0])
            is_over.wait(0.02)
        return seen

    with ThreadPoolExecutor(4) as pool:
        polls = [pool.submit(poll, number) for number in range(4)]
        cluster.ask("reload")
        cluster.wait("WorkerLeft", 2)
        is_over.set()
        homes = [each.result(PATIENCE) for each in polls]
    old = {f"{slot}.1" for slot in range(2)}
    assert all(seen[0] in old and seen[-1] not in old for seen in homes)
    assert all(len(set(seen)) == 2 for seen in homes)  # changed once, and never back


def test_a_stop_does_not_wait_for_sessions(cluster: Cluster, stack: ExitStack) -> None:
    start(cluster, *BY_COOKIE, "--drain-timeout", "60", workers=2)
    client = Client(cluster, stack)
    home = client.ask("/", "Cookie: session=x")[0]
    cluster.ask("reload", wait=False)
    cluster.wait("WorkerDraining", 2)
    assert client.ask("/", "Cookie: session=x")[0] == home
    began = time.monotonic()
    assert cluster.stop() == 0
    assert time.monotonic() - began < 2.0 * SLACK


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (("--sticky", "cookies:session"), "header:NAME, query:NAME, cookie:NAME or ip"),
        (("--sticky", "cookie:"), "no name of a cookie"),
        (("--sticky", "ip", "--server", "uvicorn"), "expected the server 'tercio'"),
    ],
)
def test_what_cannot_be_sticky_is_refused_at_the_start(
    cluster: Cluster, options: tuple[str, ...], hint: str
) -> None:
    cluster.start(*options, wait="")
    assert cluster.wait_end() == 2
    assert any(hint in line for line in cluster.lines)
