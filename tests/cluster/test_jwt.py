"""T11 over real workers: signed at one, believed at all, revoked at one, refused at all."""

import http.client
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.engines.redis.valkey import Valkey

APP = """
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tercio.jwt import JWTMiddleware, Tokens

tokens = Tokens(issuer="shop", audience="shop")

async def sign(request):
    return JSONResponse([os.getpid(), await tokens.sign(request.query_params["user"])])

async def me(request):
    return JSONResponse([os.getpid(), request.scope["tercio.jwt"].subject])

async def revoke(request):
    await tokens.revoke(request.scope["tercio.jwt"])
    return JSONResponse([os.getpid(), None])

async def rotate(request):
    return JSONResponse([os.getpid(), await tokens.rotate(at_once=True)])

def route(endpoint):
    return Route("/" + endpoint.__name__, endpoint)

guarded = JWTMiddleware(Starlette(routes=[route(me), route(revoke)]), tokens)
free = Starlette(routes=[route(sign), route(rotate)])

async def app(scope, receive, send):
    inner = guarded if scope.get("path") in ("/me", "/revoke") else free
    await inner(scope, receive, send)
"""


class Client:
    """A connection that stays with one worker, so that each worker can be asked."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def get(self, path: str, token: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def said(self, path: str, token: str = "") -> tuple[int, str]:
        """Which worker answered, and what."""
        status, body = self.get(path, token)
        assert status == 200, body
        pid, text = json.loads(body)
        return pid, text

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(params=["embedded", "redis"])
def two(
    request: pytest.FixtureRequest, new_cluster: Callable[[], Cluster]
) -> Iterator[list[Cluster]]:
    """Where a token is signed, and where it is used: one cluster, or two over one server."""
    if request.param == "embedded":
        one = new_cluster()
        one.write_app(APP)
        one.start(*QUICK, "-w", "4")
        yield [one, one]
        return
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short
        server = Valkey(Path(directory))
        try:
            clusters = [new_cluster(), new_cluster()]
            for one in clusters:
                one.write_app(APP)
                one.start(*QUICK, "-w", "2", "--redis", server.url, "--redis-required")
            yield clusters
        finally:
            server.kill()


def one_of_each(clusters: list[Cluster]) -> dict[int, Client]:
    """A client of each worker, by its pid."""
    clients: dict[int, Client] = {}
    wanted = {pid for each in clusters for pid in each.pids().values()}
    deadline = time.monotonic() + PATIENCE
    while clients.keys() != wanted:
        assert time.monotonic() < deadline, "a worker was never met"
        for each in clusters:
            client = Client(each.port)
            pid, _ = client.said("/sign?user=nobody")
            if pid in clients:
                client.close()
            else:
                clients[pid] = client
    return clients


def test_signed_at_one_believed_at_all_revoked_at_one_refused_at_all(two: list[Cluster]) -> None:
    clients = one_of_each(two)
    assert len(clients) == 4
    pids = list(clients)
    for pid in pids:
        _, token = clients[pid].said("/sign?user=ada")
        for other in pids:
            assert clients[other].said("/me", token) == (other, "ada")
        clients[pids[pids.index(pid) - 1]].said("/revoke", token)
        with ThreadPoolExecutor(4) as pool:  # at all of them at once, and right away
            asked = [pool.submit(each.get, "/me", token) for each in clients.values()]
        refusal = (401, b'{"detail":"Not authenticated"}')
        assert [answer.result() for answer in asked] == [refusal] * 4

    _, kept = clients[pids[0]].said("/sign?user=bob")
    _, gone = clients[pids[1]].said("/sign?user=eve")
    clients[pids[2]].said("/revoke", gone)
    for client in clients.values():
        client.close()
    for each in {id(each): each for each in two}.values():
        done = each.tercio("reload")
        assert done.returncode == 0, done.stderr
    clients = one_of_each(two)
    assert not clients.keys() & set(pids)
    for client in clients.values():
        assert client.said("/me", kept)[1] == "bob", "a reload keeps the keys"
        assert client.get("/me", gone)[0] == 401, "and what was revoked"
    first, *_ = clients.values()
    first.said("/rotate")
    assert [client.get("/me", kept)[0] for client in clients.values()] == [401] * 4
    _, fresh = first.said("/sign?user=ada")
    assert [client.get("/me", fresh)[0] for client in clients.values()] == [200] * 4
    for client in clients.values():
        client.close()
