"""What each client says goes to all of them: `cluster.rooms`."""

from fastapi import FastAPI, WebSocket

from tercio import cluster

app = FastAPI()


@app.websocket("/")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async with cluster.rooms.connect(websocket) as client:
        await client.join("all")
        async for text in websocket.iter_text():
            await cluster.rooms.send("all", text)
