"""The middleware and FastAPI's dependency, as clients meet them."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket

from tercio.engines.local.state import LocalState
from tercio.jwt import Claims, Tokens
from tercio.jwt.fastapi import Bearer, OptionalBearer
from tercio.state.state import State
from tests.jwt.asking import ask, guarded


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(issuer="shop", audience="a", state=State(LocalState()))


async def test_without_a_token_there_is_401_unless_it_is_optional(tokens: Tokens) -> None:
    answer = await ask(guarded(tokens))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["cache-control"] == "no-store"
    open_to_all = guarded(tokens, optional=True)
    assert (await ask(open_to_all)).body == b"nobody"
    assert (await ask(open_to_all, f"Bearer {await tokens.sign('ada')}")).body == b"ada"
    assert (await ask(open_to_all, "Bearer bad")).status == 401


@pytest.mark.parametrize("can_answer", [True, False])
async def test_a_websocket_without_a_token_does_not_open(tokens: Tokens, can_answer: bool) -> None:
    extensions: dict[str, Any] = {"websocket.http.response": {}} if can_answer else {}
    scope = {"type": "websocket", "path": "/", "headers": [], "extensions": extensions}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded(tokens)(scope, receive, send)
    if can_answer:
        assert [each["type"] for each in sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert sent[0]["status"] == 401
    else:
        assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_life_of_the_application_passes(tokens: Tokens) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    middleware = guarded(tokens)
    middleware.app = app
    nothing: Any = None
    await middleware({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


def application(tokens: Tokens) -> FastAPI:
    app = FastAPI()
    bearer, optional = Bearer(tokens), OptionalBearer(tokens)

    @app.get("/")
    async def me(claims: Annotated[Claims, Depends(bearer)]) -> str:
        return claims.subject

    @app.get("/maybe")
    async def maybe(claims: Annotated[Claims | None, Depends(optional)]) -> str:
        return "nobody" if claims is None else claims.subject

    @app.websocket("/ws")
    async def talk(socket: WebSocket, claims: Annotated[Claims, Depends(bearer)]) -> None:
        await socket.accept()
        await socket.send_text(claims.subject)

    return app


async def test_the_dependency_gives_the_claims_or_answers_401(tokens: Tokens) -> None:
    app: Any = application(tokens)
    good = await tokens.sign("ada")

    async def get(path: str, *authorization: str) -> tuple[int, bytes, str | None]:
        async def at(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "path": path, "query_string": b""}, receive, send)

        answer = await ask(at, *authorization)
        return answer.status, answer.body, answer.headers.get("www-authenticate")

    refused = b'{"detail":"Not authenticated"}'
    assert await get("/", f"Bearer {good}") == (200, b'"ada"', None)
    assert await get("/") == (401, refused, "Bearer")
    assert await get("/", "Bearer bad") == (401, refused, 'Bearer error="invalid_token"')
    assert (await get("/maybe"))[1] == b'"nobody"'
    assert (await get("/maybe", f"Bearer {good}"))[1] == b'"ada"'
    assert (await get("/maybe", "Bearer bad"))[0] == 401


def test_openapi_shows_the_scheme(tokens: Tokens) -> None:
    shown = application(tokens).openapi()
    scheme = shown["components"]["securitySchemes"]["Bearer"]
    assert scheme == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    assert shown["paths"]["/"]["get"]["security"] == [{"Bearer": []}]
