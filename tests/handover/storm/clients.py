"""Clients in a closed loop, who never ask twice: every answer must come once, and in order."""

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial

PATIENCE = 5.0
"""Seconds for an answer."""


@dataclass
class Tally:
    """What all clients saw."""

    wanted: int
    asked: int = 0
    answered: int = 0
    lost: int = 0
    """Not answered in time, or the connection ended."""
    wrong: int = 0
    """Not the answer to this request, or more than one."""
    waits: list[float] = field(default_factory=list)
    is_cautious: bool = False
    """Nobody asks any more once something went wrong."""

    @property
    def is_over(self) -> bool:
        return self.asked >= self.wanted or (self.is_cautious and self.lost + self.wrong > 0)


class Client(asyncio.Protocol):
    """One kept-alive connection; several requests at once, in pieces, as ``kind`` says."""

    def __init__(self, number: int, kind: str, tally: Tally) -> None:
        self.number = number
        self.kind = kind
        self.tally = tally
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()
        self.serial = 0
        self.expected: list[bytes] = []
        self.data = b""
        self.limit: asyncio.TimerHandle | None = None
        self.began = 0.0
        self.unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        tally = self.tally
        if tally.is_over:
            self.transport.close()
            self.end()
            return
        text = b""
        for _ in range(random.randint(1, 5) if self.kind == "pipelined" else 1):
            self.serial += 1
            tally.asked += 1
            path = b"/%d/%d" % (self.number, self.serial)
            self.expected.append(path)
            if self.kind == "split" and self.serial % 2:
                text += b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello" % path
            else:
                text += b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path
        if self.kind == "plain":
            self.unsent = [text]
        else:
            cuts = sorted(random.sample(range(1, len(text)), random.randint(0, 3)))
            self.unsent = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        self.began = self.loop.time()
        self.limit = self.loop.call_later(PATIENCE, self.late)
        self.send()

    def send(self) -> None:
        if self.unsent and not self.done.done():
            self.transport.write(self.unsent.pop(0))  # type: ignore[attr-defined]
            if self.unsent:
                self.loop.call_later(random.random() * 0.005, self.send)

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (found := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:found].lower()
            size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(self.data) < found + 4 + size:
                return
            body = self.data[found + 4 : found + 4 + size]
            self.data = self.data[found + 4 + size :]
            if not self.expected or body != self.expected.pop(0):
                self.tally.wrong += 1
                self.give_up()
                return
            self.tally.answered += 1
        if self.data or self.expected:
            return
        assert self.limit is not None
        self.limit.cancel()
        self.tally.waits.append(self.loop.time() - self.began)
        self.ask()

    def late(self) -> None:
        self.tally.lost += len(self.expected)
        self.give_up()

    def give_up(self) -> None:
        self.expected = []
        self.end()
        self.transport.abort()  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self.tally.lost += len(self.expected)
        self.expected = []
        self.end()

    def end(self) -> None:
        if self.limit is not None:
            self.limit.cancel()
        if not self.done.done():
            self.done.set_result(None)


async def storm(
    address: tuple[str, int], requests: int, connections: int, *, is_cautious: bool
) -> Tally:
    """Ask ``requests`` times over that many connections."""
    tally = Tally(requests, is_cautious=is_cautious)
    kinds = ("plain", "plain", "plain", "pipelined", "split")
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        kind = kinds[number % len(kinds)]
        while not tally.is_over:  # again, after a loss: it is counted
            client = Client(number, kind, tally)
            await loop.create_connection(partial(_same, client), *address)
            await client.done
            number += connections

    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(one(number))
    return tally


def _same(client: Client) -> Client:
    return client
