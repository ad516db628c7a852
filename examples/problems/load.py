"""Clients for the measurements, and what processes have used."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

AHEAD = 8
"""Requests that a connection sends before it reads the answers."""


async def ask_often(url: str, path: str, requests: int, connections: int = 32) -> list[str]:
    """Ask so many times over kept connections; the bodies of the answers, in no order."""
    answers: list[str] = []
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            share = requests // connections + (number < requests % connections)
            group.create_task(_ask(url, path, share, answers))
    return answers


async def _ask(url: str, path: str, requests: int, answers: list[str]) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    try:
        while requests:
            batch = min(AHEAD, requests)
            requests -= batch
            writer.write(request * batch)
            for _ in range(batch):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b" 200 " not in head.partition(b"\r\n")[0]:
                    raise RuntimeError(f"{path} was answered by {head.decode()}")
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                answers.append((await reader.readexactly(length)).decode())
    finally:
        writer.close()


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of processes so far, in steps of 10 ms."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def own_mib(pid: int) -> float:
    """Memory that is a process' own, in MiB: what it shares with others is left out."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0
