"""An application with a page for each way to treat a client."""

import asyncio

from tercio.http.asgi import Message, Receive, Scope, Send

MIB = 1 << 20


class Pages:
    """Remembers what it was told, and waits where a test wants it to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        """What `/body` and `/patient` received last."""
        self.let_go: asyncio.Event
        """What `/patient` waits for before it reads."""
        self.ended = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.let_go = asyncio.Event()
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        try:
            await self._page(scope["path"], receive, send)
        finally:
            self.ended += 1

    async def _page(self, path: str, receive: Receive, send: Send) -> None:
        match path:
            case "/body" | "/patient":
                if path == "/patient":
                    await self.let_go.wait()
                size = await self._read(receive)
                if size is not None:
                    await answer(send, 200, str(size).encode())
            case "/begun":  # the answer has begun when it waits for the body
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"begun", "more_body": True})
                await self._read(receive)
                await send({"type": "http.response.body", "body": b"ended"})
            case "/echo":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                more = True
                while more:
                    message = await receive()
                    more = message.get("more_body", False)
                    body = message.get("body", b"")
                    await send({"type": "http.response.body", "body": body, "more_body": more})
            case "/refuse":
                await answer(send, 413, b"too large")
            case "/refuse-slowly":
                await receive()
                await answer(send, 413, b"too large")
            case "/large":
                length = (b"content-length", str(64 * MIB).encode())
                await send({"type": "http.response.start", "status": 200, "headers": [length]})
                for index in range(64):
                    more = index < 63
                    body = bytes(MIB)
                    await send({"type": "http.response.body", "body": body, "more_body": more})
            case "/whole":
                await answer(send, 200, bytes(16 * MIB))
            case _ if path.startswith("/bytes-"):
                await answer(send, 200, bytes(int(path.partition("-")[2])))
            case _:
                await answer(send, 200, b"here")

    async def _read(self, receive: Receive) -> int | None:
        """The size of a body, None if its client is gone."""
        size = 0
        self.messages = []
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                return size


async def answer(send: Send, status: int, body: bytes) -> None:
    """A whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
