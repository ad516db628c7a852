"""Connections over TLS come to their end, though their clients say no goodbye."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.http.harness import LIMIT, Served
from tests.http.pages import Pages
from tests.worker.rig import Client, Rig, until

pytestmark = pytest.mark.timeout(120)

AUTHORITY = trustme.CA()
PAIR = AUTHORITY.issue_cert("localhost")


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """The option."""
    PAIR.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    return {"ssl_certfile": str(tmp_path / "pair.pem")}


@contextmanager
def idle(address: Any, path: str = "/") -> Iterator[socket.socket]:
    """A client, answered once, that keeps its connection and reads nothing more of it."""
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    plain = socket.create_connection(address, LIMIT)
    sock = trusting.wrap_socket(plain, server_hostname="localhost")
    with Client(address, sock) as client:
        client.ask(path)
        assert client.answer()[0] == 200
        yield sock


def test_an_idle_client_is_left_when_its_time_is_over(
    loop: str, certificate: dict[str, str]
) -> None:
    options: dict[str, Any] = certificate | {"timeout_keep_alive": 0.5}
    with Served(Pages(), loop=loop, **options) as served:
        with idle(served.address), idle(served.address):
            until(lambda: served.counts.connections == 0)
        assert served.running.complaints == []


def test_a_drain_does_not_wait_for_a_goodbye(loop: str, certificate: dict[str, str]) -> None:
    with Served(Pages(), loop=loop, **certificate) as served, idle(served.address):
        began = time.monotonic()
        drain = served.running.server.drain(2 * LIMIT, 0.1, 1012, False)
        cut = asyncio.run_coroutine_threadsafe(drain, served.event_loop).result(3 * LIMIT)
        assert time.monotonic() - began < LIMIT / 2  # the loops' own patience is 30 s
        assert (cut.requests, cut.websockets) == (0, 0)
        until(lambda: served.counts.connections == 0)
        assert served.running.complaints == []


def test_a_worker_with_idle_clients_ends_in_order(loop: str, certificate: dict[str, str]) -> None:
    with (
        Rig(options=certificate | {"loop": loop}) as rig,
        idle(rig.serving().address, "/who"),
        idle(rig.address, "/who"),
    ):
        rig.drain(LIMIT)
        assert rig.exit(LIMIT).code == 0, rig.messages
        assert rig.said("cut") == []
