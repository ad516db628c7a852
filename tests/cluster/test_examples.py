"""The example apps do what their docstrings say."""

import asyncio
import http.client
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
import socketio  # type: ignore[import-untyped]
from websockets.sync.client import connect

from tests.cluster.harness import PATIENCE, QUICK, Cluster

ROOT = Path(__file__).resolve().parents[2]


def get(cluster: Cluster, path: str) -> tuple[int, str]:
    """Status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_hello(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--app-dir", str(ROOT), app="examples.hello:app")
    assert get(cluster, "/") == (200, "Hello from Tercio!\n")
    status, text = get(cluster, "/pid")
    assert status == 200
    assert {f"pid {pid}, worker {slot}.1\n" for slot, pid in cluster.pids().items()} >= {text}
    assert get(cluster, "/slow?seconds=0.01") == (200, "That took 0.01 s.\n")
    assert get(cluster, "/nothing")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    connection.request("GET", "/stream")
    response = connection.getresponse()
    assert response.readline() == b"tick 1\n"
    connection.close()
    assert sorted(get(cluster, "/visits")[1] for _ in range(9)) == [
        f"{number} visits\n" for number in range(1, 10)
    ]
    assert cluster.stop() == 0


def test_hello_who_says_is_heard(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--app-dir", str(ROOT), app="examples.hello:app")
    hearing = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    hearing.request("GET", "/hear")
    response = hearing.getresponse()
    assert get(cluster, "/say?text=Good+morning") == (200, "Said.\n")
    assert re.fullmatch(rb"worker [01]\.1: Good morning\n", response.readline())
    hearing.close()
    # The client has gone, and nothing holds the stop up.
    assert cluster.stop() == 0
    assert "stopped; nothing was cut" in "\n".join(cluster.lines)


def test_nightly(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--app-dir", str(ROOT), app="examples.nightly:app")
    counts = json.loads(get(cluster, "/")[1])
    while None in (counts["ticks"], counts["builds"]):
        counts = json.loads(get(cluster, "/")[1])
    assert counts["builds"] == 1
    status = cluster.until(lambda status: len(status["jobs"]) == 3)
    assert [each["job"] for each in status["jobs"]] == ["build index", "report", "tick"]
    assert cluster.stop() == 0


def test_launch_and_its_jobs() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "launch.py")],
        capture_output=True,
        text=True,
        timeout=PATIENCE + 30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "the sum of squares is 30",
        "generation 2",
        "workers: 3",
        "the sum of squares is 110",
    ]


def test_primes(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--app-dir", str(ROOT), app="examples.primes:app")
    assert get(cluster, "/primes/100") == (200, "25")
    assert get(cluster, "/primes/100?offload=1") == (200, "25")
    asked = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    asked.request("GET", "/primes/100000000?offload=1")
    # It is at work when its process uses the CPU; then others are answered all the same.
    cluster.until(lambda status: status["workers"][0]["in_flight"] == 1)
    assert get(cluster, "/") == (200, '"still here"')
    response = asked.getresponse()
    assert response.status == 503
    assert b"3 s" in response.read()
    asked.close()


@pytest.mark.skipif(sys.platform != "linux", reason="its connections move by Linux")
@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_chat_over_socket_io(cluster: Cluster, transport: str) -> None:
    options = ("--sticky", "query:sid", "--stop-timeout", "0.5")
    directory = ("--app-dir", str(ROOT), "--name", "io")
    cluster.start("-w", "3", *QUICK, *options, *directory, app="examples.socketio_chat:app")

    async def main() -> None:
        clients = [socketio.AsyncClient(reconnection=False) for _ in range(8)]
        heard: list[list[str]] = [[] for _ in clients]
        came = asyncio.Event()
        for client, mine in zip(clients, heard, strict=True):

            async def said(text: str, worker: str, mine: list[str] = mine) -> None:
                mine.append(text)
                came.set()

            client.on("said", said)
            await client.connect(f"http://127.0.0.1:{cluster.port}", transports=[transport])
        texts = [f"from {number}" for number in range(len(clients))]
        for client, text in zip(clients, texts, strict=True):
            await client.emit("say", text)
        async with asyncio.timeout(PATIENCE):
            while any(len(mine) < len(texts) for mine in heard):
                came.clear()
                await came.wait()
        assert all(sorted(mine) == texts for mine in heard)
        for client in clients:
            await client.eio.disconnect(abort=True)

    asyncio.run(main())


def test_a_shop_in_flask(cluster: Cluster) -> None:
    directory = ("--app-dir", str(ROOT), "--name", "shop")
    cluster.start("-w", "3", *QUICK, *directory, app="examples.flask_sessions:app")
    cookies = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(cookies)

    def visit(path: str) -> bytes:
        with browser.open(f"http://127.0.0.1:{cluster.port}{path}", timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body

    assert visit("/login/ada") == b"welcome, ada\n"
    things = [f"thing{number}" for number in range(20)]
    for thing in things:
        visit(f"/add/{thing}")
    seen: set[str] = set()
    for _ in range(400):
        shown = json.loads(visit("/"))
        assert (shown["user"], shown["basket"]) == ("ada", things)
        seen.add(shown["worker"])
        if len(seen) == 3:
            break
    assert len(seen) == 3
    visit("/logout")
    assert json.loads(visit("/"))["user"] is None


def test_a_chat_in_django(cluster: Cluster) -> None:
    shutil.copytree(ROOT / "examples" / "django_chat", cluster.directory, dirs_exist_ok=True)
    cluster.start("-w", "3", *QUICK, "--name", "chat", app="--no-access-log")  # it needs no name
    address = f"127.0.0.1:{cluster.port}"

    def log_in(name: str) -> tuple[str, int]:
        with urllib.request.urlopen(f"http://{address}/login/{name}", timeout=PATIENCE) as answer:
            cookie = answer.headers["Set-Cookie"].split(";")[0]
            return cookie, json.load(answer)["visitor"]

    with ExitStack() as stack:
        names = [f"user{number}" for number in range(12)]
        clients, homes = [], set()
        for number, name in enumerate(names, 1):
            cookie, visitor = log_in(name)
            assert visitor == number
            headers = {"Cookie": cookie, "Origin": f"http://{address}"}
            client = stack.enter_context(
                connect(f"ws://{address}/ws/lobby", additional_headers=headers, proxy=None)
            )
            joined = json.loads(client.recv(PATIENCE))
            assert joined["joined"] == "lobby"
            homes.add(joined["worker"])
            clients.append(client)
        assert len(homes) > 1, "all met one worker: the test shows nothing"
        for number, client in enumerate(clients):
            client.send(json.dumps(f"hello {number}"))
            expected = {"from": names[number], "text": f"hello {number}"}
            for other in clients:
                assert json.loads(other.recv(PATIENCE)) == expected
