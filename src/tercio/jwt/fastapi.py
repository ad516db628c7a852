"""A dependency of FastAPI: ``claims: Annotated[Claims, Depends(Bearer(tokens))]``."""

from fastapi import HTTPException
from fastapi.openapi.models import HTTPBearer as Scheme
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from tercio.errors import InvalidToken, StateError
from tercio.jwt.claims import Claims
from tercio.jwt.middleware import INVALID, MISSING, REFUSED, bearer
from tercio.jwt.tokens import Tokens


class _Bearer(SecurityBase):
    def __init__(self, tokens: Tokens, name: str, description: str | None) -> None:
        self.tokens: Tokens = tokens
        self.model = Scheme(bearerFormat="JWT", description=description)
        self.scheme_name = name

    async def _claims(self, request: HTTPConnection) -> Claims | None:
        token = bearer(request.scope)
        if token is None:
            return None
        try:
            return await self.tokens.verify(token)
        except InvalidToken:
            raise _refusal(INVALID) from None
        except StateError as error:
            raise HTTPException(503, "Service unavailable", {"Retry-After": "1"}) from error


class Bearer(_Bearer):
    """The claims of a request's token; without a good one 401. Shown in OpenAPI."""

    def __init__(
        self, tokens: Tokens, *, name: str = "Bearer", description: str | None = None
    ) -> None:
        """``name`` and ``description`` are those of the scheme in OpenAPI."""
        super().__init__(tokens, name, description)

    async def __call__(self, request: HTTPConnection) -> Claims:
        claims = await self._claims(request)
        if claims is None:
            raise _refusal(MISSING)
        return claims


class OptionalBearer(_Bearer):
    """The same, with None for a request without a token. A bad one is refused all the same."""

    def __init__(
        self, tokens: Tokens, *, name: str = "Bearer", description: str | None = None
    ) -> None:
        """See `Bearer`."""
        super().__init__(tokens, name, description)

    async def __call__(self, request: HTTPConnection) -> Claims | None:
        return await self._claims(request)


def _refusal(challenge: str) -> HTTPException:
    headers = {"WWW-Authenticate": challenge, "Cache-Control": "no-store"}
    return HTTPException(401, REFUSED, headers)
