"""A hundred users stay logged in, and none of their visits is forgotten, whatever workers do."""

import asyncio
import os
import random
import signal
from dataclasses import dataclass

import pytest

from tests.cluster.chaos.tiers import luck, trials
from tests.cluster.harness import QUICK, Cluster

USERS = 100

APP = """
import json
from tercio import cluster

sessions = cluster.state.namespace("sessions")

def visited(session):
    return {**session, "visits": session["visits"] + 1} if session else None

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    user = scope["query_string"].decode()
    match scope["path"]:
        case "/login":
            session = {"user": user, "visits": 0, "basket": "x" * 500}
            await sessions.set(user, session, ttl=600)
        case "/visit":
            session = await sessions.update(user, visited, ttl=600)
        case _:
            session = await sessions.get(user)
    text = f"{session['user']} {session['visits']}" if session else "nobody"
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(text)).encode())]})
    await send({"type": "http.response.body", "body": text.encode()})
"""


@dataclass
class User:
    """One browser: it asks one thing after the other, and asks again when a connection ends."""

    name: str
    port: int
    visits: int = 0
    """That were answered."""
    unanswered: int = 0
    last: int = 0
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def visit_until(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            try:
                number = await self.ask("/visit")
            except (OSError, asyncio.IncompleteReadError):
                self.unanswered += 1
                self.close()
                continue
            assert self.last < number <= self.last + 1 + self.unanswered
            self.visits, self.last = self.visits + 1, number
            await asyncio.sleep(0.04)  # a user who thinks: the machine has others to serve

    async def ask(self, path: str) -> int:
        """What the worker says that it has of us."""
        if self.writer is None or self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(f"GET {path}?{self.name} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        text = (await self.reader.readexactly(length)).decode()
        assert head.split()[1] == b"200", (head, text)
        if b"connection: close" in head:
            self.close()
        name, _, visits = text.partition(" ")
        assert name == self.name, f"{self.name} is logged out: {text}"
        return int(visits)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@pytest.mark.chaos("C43")
@pytest.mark.parametrize("engine", ["lmdb", "sqlite"])
def test_no_session_and_no_visit_is_lost_to_reloads_and_kills(
    cluster: Cluster, engine: str
) -> None:
    cluster.write_app(APP)
    cluster.environ["TERCIO_STATE_ENGINE"] = engine
    # Workers die by our hand here, more often than one that is put aside may.
    cluster.start("-w", "3", *QUICK, "--backoff-base", "0.05", "--breaker-deaths", "100000")
    asyncio.run(play(cluster, luck(f"C43 {engine}"), engine))


async def play(cluster: Cluster, chance: random.Random, engine: str) -> None:
    users = [User(f"user{number}", cluster.port) for number in range(USERS)]
    for user in users:
        assert await user.ask("/login") == 0
    is_over = asyncio.Event()
    kills = 0
    async with asyncio.TaskGroup() as group:
        for user in users:
            group.create_task(user.visit_until(is_over))
        for _ in trials(f"C43 {engine}", 1, 10, 50):
            await asyncio.to_thread(cluster.ask, "reload")
            for _ in range(2):
                pids = await asyncio.to_thread(cluster.pids)
                os.kill(chance.choice(list(pids.values())), signal.SIGKILL)
                kills += 1
                deaths = kills
                await asyncio.to_thread(cluster.wait, "WorkerDied", deaths)
                await asyncio.to_thread(cluster.until, lambda status: status["ready"] == 3)
        is_over.set()
    unanswered = sum(user.unanswered for user in users)
    answered = sum(user.visits for user in users)
    print(f"{engine}: {answered} visits answered, {unanswered} not; {kills} kills")
    for user in users:
        user.close()
        kept = await user.ask("/session")
        assert user.visits <= kept <= user.visits + user.unanswered
        user.close()
    assert answered > 10 * USERS
    assert unanswered, "no kill hit anybody: the test shows nothing"
