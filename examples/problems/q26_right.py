"""Q26: sessions in the state that all workers share.

tercio run examples.problems.q26_right:app -w 4
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tercio.sessions import SessionMiddleware


async def login(request: Request) -> Response:
    request.session.login(request.query_params["user"])  # type: ignore[attr-defined]
    return PlainTextResponse("welcome")


async def me(request: Request) -> Response:
    return PlainTextResponse(request.session.subject or "nobody")  # type: ignore[attr-defined]


async def logout(request: Request) -> Response:
    request.session.clear()
    return PlainTextResponse("bye")


app = Starlette(
    routes=[Route("/login", login), Route("/me", me), Route("/logout", logout)],
    middleware=[Middleware(SessionMiddleware)],
)
