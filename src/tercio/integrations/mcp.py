"""MCP servers whose sessions live in the worker that began them.

app = OwnSessions(server.streamable_http_app())  # tercio run … --sticky header:mcp-session-id

The SDK invents the ids of its sessions; on their way out they get the name of their worker, and
lose it on their way in. It is for any application that does so in a header.
"""

from typing import Any

from tercio import cluster

# As ASGI has them.
_Headers = list[tuple[bytes, bytes]]

_MARK = b"~"


class OwnSessions:
    """ASGI middleware: the ids in ``header`` say whose they are."""

    def __init__(self, app: Any, header: str = "mcp-session-id") -> None:
        self.app = app
        self._header = header.lower().encode("latin-1")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: _Headers = list(scope["headers"])
        asked = b""
        for index, (name, value) in enumerate(headers):
            if name.lower() == self._header:
                asked = value
                headers[index] = (name, value.partition(_MARK)[2] or value)

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._owned(message.get("headers", ()), asked)}
            await send(message)

        await self.app({**scope, "headers": headers}, receive, answer)

    def _owned(self, headers: Any, asked: bytes) -> _Headers:
        return [
            (name, self._id(bytes(value), asked) if bytes(name).lower() == self._header else value)
            for name, value in headers
        ]

    def _id(self, own: bytes, asked: bytes) -> bytes:
        """What a client knows a session by; one that it knows stays as it is."""
        if asked.partition(_MARK)[2] == own:
            return asked
        return cluster.worker.affinity_token().encode() + _MARK + own
