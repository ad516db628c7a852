"""Q28, wrong: each worker tells the clients that it has itself, one after the other.

tercio run examples.problems.q28_naive:app -w 4
"""

import os

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

clients: set[WebSocket] = set()


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    clients.add(websocket)
    await websocket.send_text(f"worker {os.getpid()}")
    try:
        async for text in websocket.iter_text():
            for client in list(clients):
                await client.send_text(text)
    finally:
        clients.discard(websocket)


app = Starlette(routes=[WebSocketRoute("/", chat)])
