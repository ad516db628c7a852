"""``scope["extensions"]["tercio.frames"]["writer"]`` of a WebSocket: frames made once for many.

A message that goes to a thousand clients is the same bytes for all of them (RFC 6455, section 5.1:
a server masks nothing). They are not compressed, which each client's own context would make
different; a client takes both.
"""

from typing import TYPE_CHECKING, Final

from tercio.http import frames

if TYPE_CHECKING:
    from tercio.http.websocket import WebSocket

EXTENSION: Final = "tercio.frames"


class FrameWriter:
    """Writes to one client, past ASGI's ``send``, and never waits."""

    __slots__ = ("_websocket",)

    def __init__(self, websocket: "WebSocket") -> None:
        self._websocket = websocket

    @staticmethod
    def frame(content: str | bytes) -> bytes:
        """A message as it goes over the wire; the same for all clients."""
        if isinstance(content, str):
            return frames.frame(frames.FIN | frames.TEXT, content.encode())
        return frames.frame(frames.FIN | frames.BINARY, content)

    def write(self, data: bytes) -> int:
        """Send frames; the answer is how many bytes waited for the client before.

        Nothing is sent before the WebSocket was accepted, or after its end.
        """
        return self._websocket.write_frames(data)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; a client that does not take it is cut off in time."""
        self._websocket.close_now(code, reason)
