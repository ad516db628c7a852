"""The same with `broadcaster`, as its page shows it: a queue and a task for each client."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from broadcaster import Broadcast
from fastapi import FastAPI, WebSocket

broadcast = Broadcast(f"redis://127.0.0.1:{os.environ['BENCH_REDIS']}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await broadcast.connect()
    yield
    await broadcast.disconnect()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async with anyio.create_task_group() as group:

        async def speak() -> None:
            async for text in websocket.iter_text():
                await broadcast.publish(channel="all", message=text)
            group.cancel_scope.cancel()

        group.start_soon(speak)
        async with broadcast.subscribe(channel="all") as subscriber:
            async for event in subscriber:
                await websocket.send_text(event.message)
