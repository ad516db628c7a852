"""An application that remembers what it was asked, and repeats it."""

from dataclasses import dataclass, field

from tercio.http.asgi import Receive, Scope, Send


@dataclass(slots=True)
class Seen:
    """One request, as the application got it."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    """Whether the body came to its end."""

    @property
    def is_last(self) -> bool:
        """Whether the connection ends with its answer."""
        connection = b",".join(value for name, value in self.headers if name == b"connection")
        words = {word.strip().lower() for word in connection.split(b",")}
        return self.is_whole and (self.version == "1.0" or b"close" in words)

    def __str__(self) -> str:
        """What the answer says."""
        target = self.raw_path + (b"?" + self.query if self.query else b"")
        return f"{self.method} {target.decode('latin-1')} {len(self.body)}"


class Recorder:
    """Remembers every request of its server's life, in order."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        assert scope["type"] == "http", scope
        seen = Seen(
            scope["method"],
            scope["path"],
            scope["raw_path"],
            scope["query_string"],
            scope["http_version"],
            [(bytes(name), bytes(value)) for name, value in scope["headers"]],
        )
        self.seen.append(seen)
        while not seen.is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            seen.body += message.get("body", b"")
            seen.is_whole = not message.get("more_body", False)
        body = str(seen).encode()
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})
