"""WebSocket clients, as the measurements and tests of Q28 need them."""

import asyncio
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

CLIENTS = 40


async def join(stack: AsyncExitStack, url: str, count: int = CLIENTS) -> list[ClientConnection]:
    """Clients that the application knows."""
    address = "ws" + url.removeprefix("http") + "/"
    found = []
    for _ in range(count):
        client = await stack.enter_async_context(
            connect(address, compression=None, ping_interval=None)
        )
        await client.recv()
        found.append(client)
    return found


async def delivered(url: str) -> tuple[float, int]:
    """Each of 40 clients says one thing to all: how many percent arrived, and how many twice."""
    async with AsyncExitStack() as stack:
        clients = await join(stack, url)
        for number, client in enumerate(clients):
            await client.send(f"message {number}")
        got = await asyncio.gather(*map(_until_quiet, clients))
    once = sum(len(set(each)) for each in got)
    twice = sum(len(each) - len(set(each)) for each in got)
    return 100 * once / (CLIENTS * CLIENTS), twice


async def _until_quiet(client: ClientConnection, quiet: float = 4.0) -> list[str]:
    got: list[str] = []
    while len(got) < CLIENTS:
        try:
            async with asyncio.timeout(quiet):
                got.append(str(await client.recv()))
        except TimeoutError:
            break
    return got


async def past_a_stalled_one(url: str, messages: int = 40, size: int = 200_000) -> float:
    """How many percent of large messages come to a client while another one reads nothing."""
    address = urlsplit(url)
    async with AsyncExitStack() as stack:
        listening, speaking = await join(stack, url, 2)
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect((str(address.hostname), address.port or 80))
            stalled.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            got = 0
            for number in range(messages):
                await speaking.send(f"{number} " + "." * size)
                try:
                    async with asyncio.timeout(4.0):
                        while not str(await listening.recv()).startswith(f"{number} "):
                            pass
                except TimeoutError:
                    break
                got += 1
    return 100 * got / messages
