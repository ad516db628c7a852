"""What people do with Starlette."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

DIRECTORY = os.environ["RIG_STATIC"]


def tell(text: str) -> None:
    os.write(int(os.environ["RIG_NEWS"]), text.encode() + b"\n")


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": request.query_params.get("name"), "said": request.state.said})


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for index in range(1000):
            yield b"%06d\n" % index

    return StreamingResponse(lines(), media_type="text/plain")


async def stream_of_threads(request: Request) -> Response:
    def lines() -> Iterator[str]:
        for index in range(100):
            yield f"{index:06}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def endless(request: Request) -> Response:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        finally:
            tell("the stream ended")

    return StreamingResponse(ticks(), media_type="text/event-stream")


async def background(request: Request) -> Response:
    return PlainTextResponse("answered", background=BackgroundTask(tell, "after the answer"))


async def until_gone(request: Request) -> Response:
    tell("it came")
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    tell("it is gone")
    return PlainTextResponse("nobody reads this")


async def upload(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def file(request: Request) -> Response:
    return FileResponse(f"{DIRECTORY}/large.bin")


async def fails(request: Request) -> Response:
    raise HTTPException(418, "as asked", headers={"X-Why": "asked"})


async def redirect(request: Request) -> Response:
    response = RedirectResponse("/hello")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def echo(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol="echo" if websocket.scope["subprotocols"] else None)
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as gone:
        tell(f"{gone.code} {gone.reason}")


async def denied(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("not you", status_code=403))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, object]]:
    yield {"said": "at the start"}


class Timing(BaseHTTPMiddleware):
    """The middleware that everybody writes, and that streams with a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Timed"] = "yes"
        return response


app = Starlette(
    lifespan=lifespan,
    middleware=[Middleware(GZipMiddleware, minimum_size=1000)],
    routes=[
        Route("/hello", hello),
        Route("/stream", stream),
        Route("/threads", stream_of_threads),
        Route("/endless", endless),
        Route("/background", background),
        Route("/until-gone", until_gone),
        Route("/upload", upload, methods=["POST"]),
        Route("/file", file),
        Route("/fails", fails),
        Route("/redirect", redirect),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/denied", denied),
        Mount(
            "/timed",
            routes=[Route("/hello", hello), Route("/stream", stream), Route("/endless", endless)],
            middleware=[Middleware(Timing)],
        ),
        Mount("/static", StaticFiles(directory=DIRECTORY)),
    ],
)
