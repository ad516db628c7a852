"""One process of a run of the bus: it joins, publishes what it shall, and counts what comes."""

import asyncio
import gc
import json
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataplane.board import Board, Phase
from benchmarks.dataplane.peers import Peer

STAMP = struct.Struct("=QB")
"""What every message begins with: when it was published, and by whom."""


@dataclass(frozen=True)
class Load:
    """What is published, and how much of it at a time."""

    size: int
    """Bytes a message."""
    processes: int = 4
    all_publish: bool = False
    """Whether each publishes to all others, or one does."""
    batch: int = 32
    """Messages that one turn of the loop publishes."""
    window: int = 2048
    """The most that a publisher is ahead of its slowest consumer."""
    rate: int = 0
    """Messages a second of a publisher that keeps time; 0: as fast as the window allows."""
    healthy: int = 0
    """How many of the consumers the window counts; 0: all. The others are the last ones."""

    @property
    def publishers(self) -> list[int]:
        return list(range(self.processes)) if self.all_publish else [0]


def run(peer: Peer, load: Load, me: int, board: Path) -> None:
    """The whole of a process."""
    import uvloop

    uvloop.run(take_part(peer, load, me, Board(board, load.processes)))
    os._exit(0)  # threads of peers need no goodbye


async def take_part(peer: Peer, load: Load, me: int, board: Board) -> None:
    """Join, publish and count until the board says that it is over; leave a file with the rest."""
    words = board.words
    first = board.received_at(me)
    counts = [0] * load.processes
    waits: list[int] = []
    now = time.monotonic_ns
    unpack = STAMP.unpack_from

    # Now and then, where that is no use to a publisher: what is measured is not our counting.
    mask = 15 if load.window >= 256 else 0

    def deliver(_: str, body: bytes) -> None:
        sender = body[8]
        if sender != me:
            counts[sender] = count = counts[sender] + 1
            if not count & mask:
                words[first + sender] = count

    def deliver_in_time(_: str, body: bytes) -> None:
        stamp, sender = unpack(body)
        if sender != me:
            if words[0] == Phase.MEASURE:
                waits.append(now() - stamp)
            counts[sender] = count = counts[sender] + 1
            words[first + sender] = count

    is_timed = bool(load.rate) and not load.healthy
    await peer.join(me, deliver_in_time if is_timed else deliver)
    board.ready(me)
    while board.phase is Phase.WAIT:
        await asyncio.sleep(0.005)
    gc.freeze()  # as a worker of Tercio does
    if me in load.publishers:
        await (keep_time if load.rate else flood)(peer, load, me, board)
    while board.phase is not Phase.END:
        for sender, count in enumerate(counts):
            words[first + sender] = count
        await asyncio.sleep(0.02)
    told = {"waits": sorted(waits), "told": peer.tell()}
    board.path.with_name(f"process-{me}.json").write_text(json.dumps(told))


async def flood(peer: Peer, load: Load, me: int, board: Board) -> None:
    """Publish as fast as the slowest consumer allows: what is measured can go on for ever."""
    words, sent_at = board.words, board.sent_at(me)
    consumers = [c for c in range(load.processes) if c != me][: load.healthy or None]
    message = STAMP.pack(time.monotonic_ns(), me).ljust(load.size, b"x")
    messages = [message] * load.batch
    sent = slowest = 0
    while words[0] < Phase.STOP:
        if sent + load.batch - slowest > load.window:
            slowest = board.slowest(me, consumers)
            if sent > slowest and sent + load.batch - slowest > load.window:
                await asyncio.sleep(0.0005)
                continue
        await peer.publish(messages)
        sent += load.batch
        words[sent_at] = sent
        await asyncio.sleep(0)


async def keep_time(peer: Peer, load: Load, me: int, board: Board) -> None:
    """Publish ``rate`` messages a second, whoever keeps up, each with the time it was published."""
    words, sent_at = board.words, board.sent_at(me)
    filling = b"x" * (load.size - STAMP.size)
    begun, sent = time.monotonic(), 0
    while words[0] < Phase.STOP:
        due = int((time.monotonic() - begun) * load.rate) - sent
        if due <= 0:
            await asyncio.sleep(max(0.0, begun + (sent + 1) / load.rate - time.monotonic()))
            continue
        due = min(due, load.batch)
        await peer.publish([STAMP.pack(time.monotonic_ns(), me) + filling for _ in range(due)])
        sent += due
        words[sent_at] = sent
        await asyncio.sleep(0)
