"""An application whose workers take part in a run: publish and subscribe by ``cluster.bus``."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from benchmarks.dataplane.board import Board
from benchmarks.dataplane.peers import TOPIC, Deliver, Peer
from benchmarks.dataplane.worker import Load, take_part

from tercio import cluster

BOARD = "TERCIO_BENCH_BOARD"
LOAD = "TERCIO_BENCH_LOAD"

Message = MutableMapping[str, Any]


class InCluster(Peer):
    """As an application uses it."""

    async def join(self, me: int, deliver: Deliver) -> None:
        cluster.bus.on(TOPIC, deliver, type=bytes, own=False)

    async def publish(self, messages: list[bytes]) -> None:
        publish = cluster.bus.publish
        for message in messages:
            publish(TOPIC, message)

    def tell(self) -> dict[str, int]:
        return cluster.bus.counters()


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "lifespan":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    load = Load(**json.loads(os.environ[LOAD]))
    board = Board(Path(os.environ[BOARD]), load.processes)
    me = cluster.worker.slot
    board.path.with_name(f"pids-{me}").write_text(f"{os.getpid()} {os.getppid()}")
    task = asyncio.create_task(take_part(InCluster(), load, me, board))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    task.cancel()
    await send({"type": "lifespan.shutdown.complete"})
