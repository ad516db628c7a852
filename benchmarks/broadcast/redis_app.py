"""The same by hand: one subscription to Redis a worker, and a loop over its clients."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio as redis
from fastapi import FastAPI, WebSocket

server = redis.Redis(port=int(os.environ["BENCH_REDIS"]))
clients: set[WebSocket] = set()


async def hear() -> None:
    pubsub = server.pubsub()
    await pubsub.subscribe("all")
    async for message in pubsub.listen():
        if message["type"] == "message":
            text = message["data"].decode()
            for websocket in list(clients):
                await websocket.send_text(text)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(hear())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    clients.add(websocket)
    try:
        async for text in websocket.iter_text():
            await server.publish("all", text)
    finally:
        clients.discard(websocket)
