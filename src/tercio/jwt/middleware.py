"""Let requests pass that bring a good token, and tell the application what it says."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tercio.errors import InvalidToken, StateError
from tercio.jwt.tokens import Tokens

_log = logging.getLogger("tercio.jwt")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: Final = "tercio.jwt"
"""Of the scope, for the `Claims`."""

REFUSED: Final = "Not authenticated"
MISSING: Final = "Bearer"
INVALID: Final = 'Bearer error="invalid_token"'
"""What `WWW-Authenticate` says (RFC 6750); why a token is not good stays in the log."""

_RESPONSE: Final = "websocket.http.response"


class JWTMiddleware:
    """``Authorization: Bearer TOKEN`` becomes ``scope["tercio.jwt"]``; without it 401.

    A WebSocket is refused before it opens. With CORS the CORS middleware is outside of this one:
    the browser's question beforehand brings no token.
    """

    def __init__(self, app: App, tokens: Tokens, *, optional: bool = False) -> None:
        """``optional``: who brings no token passes, with None; a bad one is refused then, too."""
        self.app = app
        self.tokens: Tokens = tokens
        self._is_optional = optional

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        token = bearer(scope)
        if token is None and self._is_optional:
            scope[KEY] = None
        elif not token:
            await refuse(scope, receive, send, 401, MISSING if token is None else INVALID)
            return
        else:
            try:
                scope[KEY] = await self.tokens.verify(token)
            except InvalidToken:
                await refuse(scope, receive, send, 401, INVALID)
                return
            except StateError as error:
                _log.warning("a token cannot be verified: %s", error)
                await refuse(scope, receive, send, 503, None)
                return
        await self.app(scope, receive, send)


def bearer(scope: Scope) -> str | None:
    """The token that a request brings; None if there is none, "" if it is not one."""
    values = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    if not values:
        return None
    scheme, _, token = bytes(values[0]).strip().partition(b" ")
    if len(values) > 1:  # whoever stands before us may have looked at another one
        return ""
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, challenge: str | None
) -> None:
    """Answer in place of the application."""
    text = REFUSED if status == 401 else "Service unavailable"
    body = b'{"detail":"%b"}' % text.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    headers.append(
        (b"retry-after", b"1") if challenge is None else (b"www-authenticate", challenge.encode())
    )
    prefix = "http.response"
    if scope["type"] == "websocket":
        await receive()  # "websocket.connect"
        if _RESPONSE not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        prefix = _RESPONSE
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
