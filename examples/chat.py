"""A chat over all workers: what somebody says at one is heard at every other one.

    tercio run examples.chat:app -w 4

Connect two WebSockets to ``ws://127.0.0.1:8000/chat/lobby?name=ada`` and say something. Who comes
back with ``&after=SEQ`` gets what was said meanwhile, also over a reload.
"""

from fastapi import FastAPI, WebSocket

from tercio import cluster

app = FastAPI()
cluster.rooms.keep("*", last=1000)


@app.websocket("/chat/{room}")
async def chat(websocket: WebSocket, room: str, name: str, after: int | None = None) -> None:
    await websocket.accept()
    async with cluster.rooms.connect(websocket, name=name) as client:
        joined = await client.join(room, after=after)
        client.send({"joined": room, "seq": joined.position, "missed": joined.missed})
        async for text in websocket.iter_text():
            await cluster.rooms.send(room, {"from": name, "text": text})


@app.get("/chat/{room}")
async def who(room: str) -> list[str]:
    return await cluster.rooms.names(room)
