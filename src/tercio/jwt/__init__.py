"""Signed tokens (JWT) with one key ring and one list of what was revoked, for all workers.

Needs the extra ``jwt``. `Tokens` signs and verifies, `JWTMiddleware` guards an ASGI application,
and `tercio.jwt.fastapi.Bearer` is a dependency of FastAPI.
"""

from tercio.errors import InvalidToken
from tercio.jwt.claims import Claims
from tercio.jwt.middleware import JWTMiddleware
from tercio.jwt.tokens import Tokens

__all__ = ["Claims", "InvalidToken", "JWTMiddleware", "Tokens"]
