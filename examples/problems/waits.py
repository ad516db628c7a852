"""Ask for something quick again and again while something long is under way: who has to wait?"""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEPT = 32
PAUSE = 0.08
"""Seconds between two requests over one kept connection."""


@dataclass(slots=True)
class Waits:
    """Seconds from each request to its answer, the time to connect included."""

    kept: list[list[float]] = field(default_factory=list)
    """By kept connection."""
    new: list[float] = field(default_factory=list)
    """Of requests with a connection each."""

    def stalled(self, limit: float) -> int:
        """Kept connections over which an answer took longer than ``limit`` seconds."""
        return sum(max(each) > limit for each in self.kept)

    @property
    def worst(self) -> float:
        """The longest of all."""
        return max(*(max(each) for each in self.kept), *self.new)


async def beside(url: str, path: str, seconds: float) -> Waits:
    """Ask for ``/fast`` over kept and new connections while ``path`` is under way."""
    address = urlsplit(url)
    host, port = str(address.hostname), address.port
    waits = Waits()
    kept = [await asyncio.open_connection(host, port) for _ in range(KEPT)]
    for reader, writer in kept:
        await _ask(reader, writer, "/fast")  # each has its worker
    reader, writer = await asyncio.open_connection(host, port)
    # On time whatever happens: a client that waits for an answer asks too seldom.
    end = time.monotonic() + seconds + 0.5
    async with asyncio.TaskGroup() as group:
        long = group.create_task(_ask(reader, writer, path))
        for connection in kept:
            own: list[float] = []
            waits.kept.append(own)
            group.create_task(_keep_asking(*connection, own, end))
        group.create_task(_connect_often(host, port, waits.new, end))
    assert long.done()
    for _, each in [*kept, (reader, writer)]:
        each.close()
    return waits


async def _keep_asking(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waits: list[float], end: float
) -> None:
    while time.monotonic() < end:
        began = time.monotonic()
        await _ask(reader, writer, "/fast")
        waits.append(time.monotonic() - began)
        await asyncio.sleep(PAUSE)


async def _connect_often(host: str, port: int | None, waits: list[float], end: float) -> None:
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < end:
            group.create_task(_ask_anew(host, port, waits))
            await asyncio.sleep(PAUSE / 4)


async def _ask_anew(host: str, port: int | None, waits: list[float]) -> None:
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, port)
    await _ask(reader, writer, "/fast")
    waits.append(time.monotonic() - began)
    writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> str:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(f"{path} was answered by {head.decode()}")
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return (await reader.readexactly(length)).decode()
