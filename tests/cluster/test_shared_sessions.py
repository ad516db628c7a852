"""Q26: a user stays logged in, whichever worker answers and whatever happens to the others."""

import asyncio
import http.client
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.chaos.tiers import luck, trials
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.engines.redis.valkey import Valkey

APP = """
import os
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from tercio.sessions import SessionMiddleware

async def login(request):
    request.session.login(request.query_params["user"])
    request.session["user"] = request.query_params["user"]
    return JSONResponse(os.getpid())

async def me(request):
    return JSONResponse([request.session.get("user"), request.session.get("hits")])

async def hit(request):
    return JSONResponse(await request.session.change("hits", lambda hits: hits + 1, 0))

async def logout(request):
    request.session.logout()
    return JSONResponse(os.getpid())

async def pid(request):
    return JSONResponse(os.getpid())

app = Starlette(
    routes=[Route("/" + each.__name__, each) for each in (login, me, hit, logout, pid)],
    middleware=[Middleware(SessionMiddleware)],
)
"""


class User:
    """A browser of the standard library: a connection a request, or one for all."""

    def __init__(self, port: int, *, keeps: bool) -> None:
        self.port = port
        self.cookie = ""
        self._keeps = keeps
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> str:
        """One request; once more where a kept connection was closed before it."""
        for _ in range(3):
            connection = self._connection or http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=PATIENCE
            )
            try:
                headers = {"Cookie": self.cookie} if self.cookie else {}
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._connection = None
                continue
            if self._keeps:
                self._connection = connection
            else:
                connection.close()
            assert answer.status == 200, text
            if told := answer.headers["Set-Cookie"]:
                self.cookie = "" if "Max-Age=0" in told else told.split(";")[0]
            return text
        raise AssertionError(f"{path} was not answered")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


# Workers die by our hand here, more often than one that is put aside may.
_MORTAL = ("--backoff-base", "0.05", "--breaker-deaths", "100000")


@pytest.fixture(params=["embedded", "redis"])
def two(
    request: pytest.FixtureRequest, new_cluster: Callable[[], Cluster]
) -> Iterator[list[Cluster]]:
    """Where a session was begun, and where it is used: one cluster, or two over one server."""
    if request.param == "embedded":
        one = new_cluster()
        one.write_app(APP)
        one.start(*QUICK, *_MORTAL, "-w", "4")
        yield [one, one]
        return
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short
        server = Valkey(Path(directory))
        try:
            clusters = [new_cluster(), new_cluster()]
            for one in clusters:
                one.write_app(APP)
                one.start(*QUICK, *_MORTAL, "-w", "2", "--redis", server.url, "--redis-required")
            yield clusters
        finally:
            server.kill()


def test_40_of_40_users_are_known_everywhere(two: list[Cluster]) -> None:
    begun, used = set(), set()
    for number in range(40):
        user = User(two[0].port, keeps=number % 2 == 0)
        begun.add(user.get(f"/login?user=user-{number}"))
        user.close()
        user._connection = None
        user.port = two[number % 2].port
        for hits in range(1, 6):
            assert user.get("/me") == f'["user-{number}",{hits - 1 or "null"}]'
            assert user.get("/hit") == str(hits)
            used.add(user.get("/pid"))
        user.close()
    assert len(begun) > 1, "one worker answered all: nothing was shared"
    assert len(used) > 1


def test_a_logout_counts_at_once_and_everywhere(two: list[Cluster]) -> None:
    for number in range(20):
        user = User(two[0].port, keeps=False)
        user.get(f"/login?user={number}")
        stolen = User(two[1].port, keeps=False)
        stolen.cookie = user.cookie
        assert stolen.get("/me") == f'["{number}",null]'
        user.get("/logout")
        assert stolen.get("/me") == "[null,null]"


def test_2_x_1000_parallel_updates_over_workers_are_exact(two: list[Cluster]) -> None:
    user = User(two[0].port, keeps=True)
    user.get("/login?user=ada")

    def hit(index: int) -> list[int]:
        mine = User(two[index % 2].port, keeps=True)
        mine.cookie = user.cookie
        try:
            return [int(mine.get("/hit")) for _ in range(250)]
        finally:
            mine.close()

    async def all_hit() -> list[list[int]]:
        return await asyncio.gather(*(asyncio.to_thread(hit, index) for index in range(8)))

    seen = [number for each in asyncio.run(all_hit()) for number in each]
    assert sorted(seen) == list(range(1, 2001))
    assert user.get("/me") == '["ada",2000]'
    user.close()


@pytest.mark.chaos("C43")
def test_kills_and_reloads_lose_no_session_and_no_update(two: list[Cluster]) -> None:
    """100 users who are logged in and count, while workers die and all are replaced."""
    case = f"C43 middleware, {'embedded' if two[0] is two[1] else 'redis'}"
    chance = luck(case)
    rounds = trials(case, 1, 10, 50)
    users = [User(two[number % 2].port, keeps=number % 3 == 0) for number in range(100)]
    for number, user in enumerate(users):
        user.get(f"/login?user={number}")
    hits = [0] * len(users)
    stop = time.monotonic() + PATIENCE * len(rounds)

    def use(part: int, disturbing: "asyncio.Task[None]") -> None:
        choice = random.Random(part)
        while not disturbing.done() and time.monotonic() < stop:
            number = choice.randrange(part, len(users), 4)
            # One that was killed may have counted a request that is then sent again.
            counted = int(users[number].get("/hit"))
            assert counted > hits[number], "an update was lost"
            hits[number] = counted

    async def disturb() -> None:
        for _ in rounds:
            for _ in range(2):
                one = chance.choice(two)
                pid = chance.choice(list(one.pids().values()))
                os.kill(pid, signal.SIGKILL)
                await asyncio.to_thread(_until_replaced, one, pid)
            done = await asyncio.to_thread(chance.choice(two).tercio, "reload")
            assert done.returncode == 0, done.stderr

    async def main() -> None:
        disturbing = asyncio.create_task(disturb())
        await asyncio.gather(
            *(asyncio.to_thread(use, part, disturbing) for part in range(4)), disturbing
        )

    asyncio.run(main())
    assert sum(hits) > 100
    for number, user in enumerate(users):
        name, counted = user.get("/me").strip("[]").split(",")
        assert name == f'"{number}"', "a session was lost"
        assert (0 if counted == "null" else int(counted)) >= hits[number]
        user.close()


def _until_replaced(cluster: Cluster, pid: int) -> None:
    """Wait until another worker serves in the place of one that was killed."""

    def is_replaced(status: dict[str, Any]) -> bool:
        serving = {each["pid"] for each in status["workers"] if each["phase"] == "serving"}
        return pid not in serving and len(serving) == len(status["workers"])

    cluster.until(is_replaced)
