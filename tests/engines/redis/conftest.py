"""Servers for the tests of the Redis engine. None is left behind."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.engines.redis.valkey import SentinelServer, Valkey

MakeServer = Callable[..., Valkey]


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: they differ in when timers run and when a connection is lost."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    servers: list[Valkey] = []
    names = count()

    def make(*options: str, tcp: bool = False) -> Valkey:
        servers.append(Valkey(tmp_path / f"v{next(names)}", *options, tcp=tcp))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def make_sentinel(tmp_path: Path) -> Iterator[Callable[[Valkey], SentinelServer]]:
    servers: list[SentinelServer] = []

    def make(master: Valkey) -> SentinelServer:
        servers.append(SentinelServer(tmp_path / f"sentinel{len(servers)}", master))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def server(make_server: MakeServer) -> Valkey:
    """A server of the test's own on a Unix socket."""
    return make_server()
