"""Whose word about other clients is taken: nobody's whose own address is not known."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from tercio.http.asgi import Receive, Scope, Send
from tests.http.harness import LIMIT, factory, serving
from tests.http.pages import answer

pytestmark = pytest.mark.timeout(120)

OURS, STRANGE = "127.0.0.1", "127.0.0.2"

SAYS = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\n\r\n"

Seen = list[tuple[Any, str]]


def noting(seen: Seen) -> Any:
    """An application that writes down who asks."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["client"], scope["scheme"]))
        await answer(send, 200, b"")

    return app


def say(source: str, address: Any) -> socket.socket:
    """A client that has spoken."""
    sock = socket.socket()
    try:
        sock.bind((source, 0))
    except OSError:  # only Linux has all of 127.0.0.0/8
        sock.close()
        pytest.skip(f"no {source} here")
    sock.connect(address)
    sock.sendall(SAYS)
    return sock


def test_a_stranger_that_is_gone_before_it_is_accepted_is_not_believed(loop: str) -> None:
    """It has no address any more; the listener's own, which is trusted, is not its address."""
    seen: Seen = []

    async def main() -> None:
        async with serving(noting(seen), lifespan="off", forwarded_allow_ips=OURS) as running:
            for number in range(1, 6):
                # The loop does not run meanwhile.
                sock = say(STRANGE, running.address)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                async with asyncio.timeout(LIMIT):
                    while running.counts.lost < number:
                        await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())
    assert {scheme for _, scheme in seen} <= {"http"}
    assert {client and client[0] for client, _ in seen} <= {None, STRANGE}


def test_a_client_that_stays_is_believed_by_its_own_address(loop: str) -> None:
    seen: Seen = []

    async def main() -> None:
        async with serving(noting(seen), lifespan="off", forwarded_allow_ips=OURS) as running:
            for source in (OURS, STRANGE):
                sock = say(source, running.address)
                async with asyncio.timeout(LIMIT):
                    while len(seen) < 1 + (source == STRANGE):
                        await asyncio.sleep(0.001)
                sock.close()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())
    assert seen[0] == (("10.1.1.1", 0), "https")
    assert (seen[1][0][0], seen[1][1]) == (STRANGE, "http")
