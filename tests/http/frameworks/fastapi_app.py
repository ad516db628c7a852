"""What people do with FastAPI."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()


def tell(text: str) -> None:
    os.write(int(os.environ["RIG_NEWS"]), text.encode() + b"\n")


class Item(BaseModel):
    """A body that is checked."""

    name: str
    price: float
    tags: list[str] = []


async def session() -> AsyncIterator[str]:
    """A dependency that is to be given back."""
    yield "session"
    tell("given back")


@app.get("/items/{number}")
async def read_item(number: int, query: str = "none") -> dict[str, object]:
    return {"number": number, "query": query}


@app.post("/items")
async def create_item(item: Item) -> Item:
    return item


@app.get("/thread")
def in_a_thread(x_name: Annotated[str | None, Header()] = None) -> dict[str, str | None]:
    return {"name": x_name}


@app.get("/session")
async def with_session(given: Annotated[str, Depends(session)]) -> dict[str, str]:
    return {"given": given}


@app.post("/background")
async def background(tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(tell, "after the answer")
    return {"answered": "yes"}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for index in range(100):
            yield f"{index:06}\n"

    return StreamingResponse(lines())


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    return {"size": len(await request.body())}


@app.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, "as asked")


@app.get("/raises")
async def raises() -> None:
    raise ValueError("as asked")


@app.websocket("/echo/{room}")
async def echo(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_json({"room": room, "said": text})
