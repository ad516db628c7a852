"""Q26, wrong: sessions in the memory of whichever worker began them.

tercio run examples.problems.q26_naive:app -w 4
"""

import secrets

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

sessions: dict[str, dict[str, str]] = {}


async def login(request: Request) -> Response:
    id = secrets.token_urlsafe()
    sessions[id] = {"user": request.query_params["user"]}
    answer = PlainTextResponse("welcome")
    answer.set_cookie("session", id, httponly=True)
    return answer


async def me(request: Request) -> Response:
    session = sessions.get(request.cookies.get("session", ""), {})
    return PlainTextResponse(session.get("user", "nobody"))


async def logout(request: Request) -> Response:
    sessions.pop(request.cookies.get("session", ""), None)
    return PlainTextResponse("bye")


app = Starlette(routes=[Route("/login", login), Route("/me", me), Route("/logout", logout)])
