"""A chat over Socket.IO: whoever is at whichever worker, all hear what one says.

    tercio run examples.socketio_chat:app -w 3 --sticky query:sid

Clients emit ``say`` with a text, and hear ``said`` with a text and the worker it came from. It
works over polling, which is why requests of one session must find its worker, and over WebSockets.
"""

import socketio

from tercio import cluster
from tercio.integrations.socketio import AsyncTercioManager, own_sessions

server = socketio.AsyncServer(async_mode="asgi", client_manager=AsyncTercioManager())
own_sessions(server)
app = socketio.ASGIApp(server)


@server.event
async def say(sid: str, text: str) -> str:
    await server.emit("said", (text, cluster.worker.id))
    return cluster.worker.id
