"""A WebSocket as rooms see one: a scope and a ``send``, in this process."""

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0


class Client:
    """Keeps what it was sent. While it is ``stalled`` nothing goes to it."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"type": "websocket", "extensions": {}}
        self.got: list[str | bytes] = []
        self.closed: tuple[int, str] | None = None
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._changed = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            self.closed = message["code"], message["reason"]
        else:
            await self.may_read.wait()
            self.got.append(message["text"] if "text" in message else message["bytes"])
        self._changed.set()

    async def until(self, is_true: Callable[["Client"], bool]) -> None:
        """Wait until it has got what it should."""
        async with asyncio.timeout(PATIENCE):
            while not is_true(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_got(self, message: str | bytes) -> list[str | bytes]:
        """What it got up to this message."""
        await self.until(lambda client: message in client.got)
        return self.got


class FramedClient(Client):
    """The same at our own server, which takes frames. ``waiting`` is what it says of its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.writes: list[bytes] = []
        self.scope["extensions"]["tercio.frames"] = {"writer": self}

    @staticmethod
    def frame(content: str | bytes) -> bytes:
        data = content.encode() if isinstance(content, str) else content
        return len(data).to_bytes(4) + data

    def write(self, data: bytes) -> int:
        self.writes.append(data)
        while data:
            length = int.from_bytes(data[:4])
            self.got.append(data[4 : 4 + length].decode())
            data = data[4 + length :]
        self._changed.set()
        return self.waiting

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason
        self._changed.set()
