"""Kept-alive clients who note how long each answer took, for clusters in which a worker blocks."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Final

LIMIT: Final = 30.0
"""Seconds for any answer."""

APP: Final = """
import asyncio, os, time

def block(how, seconds):
    if how == "sleep":
        time.sleep(seconds)
        return
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(50))

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
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(os.getpid())})
        return
    _, how, *rest = scope["path"].split("/")
    if how in ("sleep", "spin"):
        block(how, float(rest[0]))
    elif how == "later":  # in a callback, outside of any task
        asyncio.get_running_loop().call_later(0.05, block, "sleep", float(rest[0]))
    elif how == "upload":
        while (await receive())["more_body"]:
            pass
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
    if how == "behind":  # its own answer
        block("sleep", float(rest[0]))
"""


@dataclass
class Kept:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    waits: list[float] = field(default_factory=list)
    pid: int = 0

    @classmethod
    async def open(cls, port: int) -> "Kept":
        kept = cls(*await asyncio.open_connection("127.0.0.1", port))
        await kept.ask("/")
        return kept

    async def ask(self, path: str = "/") -> int:
        """The process that answered."""
        self.send(path)
        return await self.answer()

    def send(self, path: str) -> None:
        self.writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())

    async def answer(self) -> int:
        began = time.monotonic()
        async with asyncio.timeout(LIMIT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.pid = int(await self.reader.readexactly(size))
        self.waits.append(time.monotonic() - began)
        return self.pid

    def close(self) -> None:
        self.writer.transport.abort()


async def neighbours(port: int, count: int = 2) -> list[Kept]:
    """So many connections of one worker."""
    by_pid: dict[int, list[Kept]] = {}
    while True:
        kept = await Kept.open(port)
        same = by_pid.setdefault(kept.pid, [])
        same.append(kept)
        if len(same) == count:
            for each in (
                each for others in by_pid.values() if others is not same for each in others
            ):
                each.close()
            return same


async def waits_while_blocked(
    port: int, path: str, *, connections: int = 32, seconds: float = 4.0
) -> list[float]:
    """The longest that each of these clients waits while one request blocks a worker.

    Each thinks for 80 ms on average.
    """
    kept = [await Kept.open(port) for _ in range(connections)]
    culprit = await Kept.open(port)
    for each in kept:
        each.waits.clear()
    until = time.monotonic() + seconds

    async def go_on(each: Kept) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(random.uniform(0.0, 0.16))
            await each.ask()

    async with asyncio.TaskGroup() as group:
        group.create_task(culprit.ask(path))
        for each in kept:
            group.create_task(go_on(each))
    for each in (*kept, culprit):
        each.close()
    return sorted(max(each.waits) for each in kept)
