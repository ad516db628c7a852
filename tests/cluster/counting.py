"""Clients that ask many times over connections that they keep, and keep every answer."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Counted:
    """What came back. ``lost`` requests got no answer: their connection ended."""

    answers: list[bytes] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    lost: int = 0


async def ask_often(
    port: int, path: str, *, connections: int, requests: int, ahead: int = 8
) -> Counted:
    """Ask ``requests`` times on each of ``connections``, ``ahead`` at a time; none is repeated."""
    counted = Counted()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_ask(port, path, requests, ahead, counted))
    return counted


async def _ask(port: int, path: str, requests: int, ahead: int, counted: Counted) -> None:
    left = requests
    while left:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        is_open = True
        try:
            while left and is_open:
                batch = min(ahead, left)
                left -= batch
                writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode() * batch)
                for number in range(batch):
                    try:
                        is_open = await _answer(reader, counted)
                    except (OSError, asyncio.IncompleteReadError):
                        is_open = False
                        counted.lost += batch - number
                        break
                    if not is_open:
                        counted.lost += batch - number - 1
                        break
        except OSError:
            counted.lost += 1
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader, counted: Counted) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    counted.answers.append(await reader.readexactly(length))
    status = int(head.split(b" ", 2)[1])
    counted.statuses[status] = counted.statuses.get(status, 0) + 1
    return b"connection: close" not in head
