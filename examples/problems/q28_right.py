"""Q28: a room of clients at all workers.

tercio run examples.problems.q28_right:app -w 4
"""

import os

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tercio import cluster

BACKLOG = int(os.environ.get("Q28_BACKLOG", 1 << 20))


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async with cluster.rooms.connect(websocket, backlog=BACKLOG) as client:
        await client.join("all")
        client.send(f"worker {os.getpid()}")
        async for text in websocket.iter_text():
            await cluster.rooms.send("all", text)


app = Starlette(routes=[WebSocketRoute("/", chat)])
