"""Q26, nearly: all of the session in the cookie, signed. The server can't take anything back.

So does a JWT. tercio run examples.problems.q26_signed:app -w 4
"""

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tercio import cluster

COOKIE = "session"


def signer() -> URLSafeSerializer:
    """With one secret for all workers; one of each worker's own would be the naive way again."""
    return URLSafeSerializer(cluster.secret("cookies"))


async def login(request: Request) -> Response:
    answer = PlainTextResponse("welcome")
    answer.set_cookie(COOKIE, signer().dumps(request.query_params["user"]), httponly=True)
    return answer


async def me(request: Request) -> Response:
    try:
        return PlainTextResponse(signer().loads(request.cookies.get(COOKIE, "")))
    except BadSignature:
        return PlainTextResponse("nobody")


async def logout(request: Request) -> Response:
    answer = PlainTextResponse("bye")
    answer.delete_cookie(COOKIE)  # asks the browser, and whoever stole it, to forget it
    return answer


app = Starlette(routes=[Route("/login", login), Route("/me", me), Route("/logout", logout)])
