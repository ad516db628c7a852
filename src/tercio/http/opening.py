"""What an application may say before there is a WebSocket, and which answer that makes.

    asked --websocket.accept--> accepted
      |--websocket.close--> refused with 403
      |--websocket.http.response.start--> denying --last part--> refused
      |--it fails--> refused with 500

Pure: messages in, bytes out.
"""

from enum import Enum

from tercio.http.access import log_websocket
from tercio.http.asgi import Message, Scope
from tercio.http.denial import Denial
from tercio.http.handshake import Handshake, accept_head
from tercio.http.response import plain


class Outcome(Enum):
    """How an opening ends."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class Opening:
    """The opening of one WebSocket whose request is in order; it completes the scope."""

    __slots__ = ("_denial", "_scope", "handshake", "outcome")

    def __init__(self, scope: Scope, handshake: Handshake) -> None:
        self.handshake = handshake
        self.outcome: Outcome | None = None
        scope.pop("method", None)  # of HTTP's scope, as are all extensions but that of TLS
        tls = {name: each for name, each in scope.get("extensions", {}).items() if name == "tls"}
        scope["extensions"] = {"websocket.http.response": {}} | tls
        scope["subprotocols"] = handshake.subprotocols
        self._scope = scope
        self._denial: Denial | None = None

    def say(self, message: Message, head_lines: bytes) -> bytes:
        """What a message of the application sends. Raises RuntimeError for one out of place."""
        kind = message["type"]
        if self._denial is not None:
            if kind != "websocket.http.response.body":
                raise RuntimeError(
                    f"Expected ASGI message 'websocket.http.response.body' but got {kind!r}."
                )
            data = self._denial.part(message)
            if self._denial.is_complete:
                self.outcome = Outcome.REFUSED
            return data
        match kind:
            case "websocket.accept":
                head = accept_head(
                    self.handshake,
                    head_lines,
                    message.get("subprotocol"),
                    message.get("headers") or (),
                )
                self.outcome = Outcome.ACCEPTED
                log_websocket(self._scope, None)
                return head
            case "websocket.close":
                self.outcome = Outcome.REFUSED
                log_websocket(self._scope, 403)
                return plain(head_lines, 403, b"")
            case "websocket.http.response.start":
                self._denial = Denial(message, head_lines)
                log_websocket(self._scope, self._denial.status)
                return b""
        raise RuntimeError(
            "Expected ASGI message 'websocket.accept', 'websocket.close' or "
            f"'websocket.http.response.start' but got {kind!r}."
        )

    def give_up(self, head_lines: bytes) -> bytes:
        """What to send for an application that ended without an answer."""
        self.outcome = Outcome.REFUSED
        if self._denial is not None and self._denial.is_begun:
            return b""  # closed in the middle: the client sees that what it got is not all
        log_websocket(self._scope, 500)
        return plain(head_lines, 500, b"Internal Server Error")
