"""One peer has as many connections as it may, whichever loop closes them; others lose nothing."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme

from tercio.http.proxies import Proxies
from tercio.servers.peers import Peers
from tests.http.harness import LIMIT, Running, factory, serving
from tests.http.upgraded import WebSocketWire, echo

NOBODY: dict[str, Any] = {"forwarded_allow_ips": "10.0.0.1", "access_log": False}
"""The tests come from 127.0.0.1, which is trusted else."""

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main)


def connect(address: Any, source: str = "") -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    try:
        if source:
            sock.bind((source, 0))
    except OSError:  # only Linux has all of 127.0.0.0/8
        sock.close()
        pytest.skip(f"no {source} here")
    sock.connect(address)
    sock.setblocking(False)
    return sock


async def is_served(sock: socket.socket) -> bool:
    """Whether it gets an answer; if not, not a byte of one."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, GET)
        data = await asyncio.wait_for(loop.sock_recv(sock, 65536), LIMIT)
    except (ConnectionResetError, BrokenPipeError):
        return False
    return data.startswith(b"HTTP/1.1 500 ")  # the application speaks WebSocket only


async def left(running: Running, number: int) -> None:
    """Wait until so many connections are left."""
    async with asyncio.timeout(LIMIT):
        while running.connections != number:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("server", ["tercio", "uvicorn"])
def test_beyond_its_number_a_peer_is_closed_until_it_closes_one(loop: str, server: str) -> None:
    async def main() -> None:
        options = NOBODY | {"server": server, "limit_peer_connections": 3}
        async with serving(echo, **options) as running:
            held = [connect(running.address) for _ in range(3)]
            await left(running, 3)
            for number in range(5):
                with connect(running.address) as refused:
                    assert not await is_served(refused)
                assert running.counts.turned_away == number + 1
            assert running.counts.made == 3
            held.pop().close()
            await left(running, 2)
            held.append(connect(running.address))
            await left(running, 3)
            assert running.counts.turned_away == 5
            (note,) = [
                each.getMessage() for each in running.logged if "closed" in each.getMessage()
            ]
            assert note == (
                "warning: closed a connection of 127.0.0.1, which has 3 "
                "(see --limit-peer-connections)"
            )
            for sock in held:
                sock.close()
            await left(running, 0)

    run(loop, main())


def test_places_come_back_however_connections_end(loop: str) -> None:
    """Answered and closed, upgraded, refused while it sends, reset."""

    async def main() -> None:
        async with serving(echo, **NOBODY, limit_peer_connections=1) as running:
            for _ in range(3):
                async with WebSocketWire(running.address) as wire:
                    assert await wire.upgrade() == 101
                    with connect(running.address) as refused:
                        assert not await is_served(refused)
                    assert (await wire.close())[0] == 1000
                await left(running, 0)
                with connect(running.address) as sock:
                    await asyncio.get_running_loop().sock_sendall(sock, b"nonsense\r\n\r\n")
                    assert await asyncio.get_running_loop().sock_recv(sock, 20)
                await left(running, 0)
                with connect(running.address) as sock:
                    await left(running, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await left(running, 0)
            assert running.counts.turned_away == 3

    run(loop, main())


def test_other_addresses_have_places_of_their_own(loop: str) -> None:
    async def main() -> None:
        async with serving(echo, **NOBODY, limit_peer_connections=1) as running:
            with connect(running.address), connect(running.address, "127.0.0.2") as other:
                await left(running, 2)
                assert await is_served(other)
            assert running.counts.turned_away == 0

    run(loop, main())


def test_a_trusted_proxy_has_no_limit(loop: str) -> None:
    async def main() -> None:
        async with serving(echo, access_log=False, limit_peer_connections=1) as running:
            with connect(running.address), connect(running.address) as second:
                await left(running, 2)
                assert await is_served(second)
            assert running.counts.turned_away == 0

    run(loop, main())


def test_over_a_unix_socket_there_is_no_limit(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "sock")
        async with serving(echo, unix=path, **NOBODY, limit_peer_connections=1) as running:
            with connect(path), connect(path) as second:
                await left(running, 2)
                assert await is_served(second)
            assert running.counts.turned_away == 0

    run(loop, main())


def test_a_limit_that_trusts_everybody_is_said_to_be_none(loop: str) -> None:
    async def main() -> None:
        options = NOBODY | {"forwarded_allow_ips": "*"}
        async with serving(echo, **options, limit_peer_connections=1) as running:
            (note,) = running.logged
            assert "--limit-peer-connections has no effect" in note.getMessage()

    run(loop, main())


def test_a_peer_is_an_address_or_a_network_of_64_bits() -> None:
    refused: list[None] = []
    peers = Peers(2, Proxies("fd00::1"), lambda: refused.append(None), lambda level, text: None)
    first = peers.admit("2001:db8:0:1::1")
    assert first is not None
    assert peers.admit("2001:db8:0:1:ffff::2") == first
    assert peers.admit("2001:db8:0:1::3") is None
    assert peers.admit("2001:db8:0:2::1") not in (None, first)
    # What a socket for both versions shows for IPv4 is IPv4.
    assert peers.admit("10.0.0.1") == peers.admit("::ffff:10.0.0.1") == "10.0.0.1"
    assert peers.admit("::ffff:10.0.0.1") is None
    assert peers.admit("::ffff:10.0.0.2") == "10.0.0.2"
    assert len(refused) == 2
    assert all(peers.admit("fd00::1") for _ in range(5))
    peers.leave(first)
    assert peers.admit("2001:db8:0:1::4") == first


def test_nothing_is_kept_of_who_left() -> None:
    peers = Peers(2, Proxies("10.9.9.9"), lambda: None, lambda level, text: None)
    keys = [peers.admit(f"10.0.{number}.1") for number in range(250)]
    assert len(peers) == 250
    for key in keys:
        assert key is not None
        peers.leave(key)
    assert len(peers) == 0


def test_a_handshake_of_tls_takes_a_place_and_gives_it_back(loop: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    client = ssl.create_default_context()
    authority.configure_trust(client)

    async def main() -> None:
        options = NOBODY | {"ssl_certfile": str(pem), "limit_peer_connections": 1}
        async with serving(echo, **options) as running:
            for number in range(1, 4):
                with connect(running.address) as silent, connect(running.address) as refused:
                    assert not await is_served(refused)
                    assert running.counts.turned_away == number
                    # No handshake either: it ends, and the end is seen here.
                    await asyncio.get_running_loop().sock_sendall(silent, GET)
                    with contextlib.suppress(ConnectionResetError):
                        while await asyncio.get_running_loop().sock_recv(silent, 4096):
                            pass
                reader, writer = await asyncio.open_connection(*running.address, ssl=client)
                writer.write(GET)
                async with asyncio.timeout(LIMIT):
                    assert (await reader.readline()).startswith(b"HTTP/1.1 500 ")
                writer.close()
                await left(running, 0)

    run(loop, main())
