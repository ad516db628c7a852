"""Tell what an application speaks, and make it ASGI 3."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from tercio.http.asgi import App, Receive, Scope, Send
from tercio.servers.wsgi.app import Overdue, WsgiApp

_Parameter = inspect.Parameter
_PLACES = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)


def detect(app: object) -> str:
    """ "asgi" (3), "asgi2" or "wsgi", by the shape of the callable; ASGI when it does not tell.

    ASGI takes ``scope, receive, send`` or is a coroutine function, WSGI takes ``environ,
    start_response``, the old ASGI takes ``scope`` and returns the rest.
    """
    if inspect.isclass(app):
        return "asgi" if hasattr(app, "__await__") else "asgi2"
    call = app if inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return "asgi"
    try:
        parameters = list(inspect.signature(cast("Callable[..., Any]", app)).parameters.values())
    except (TypeError, ValueError):  # compiled code without a signature
        return "asgi"
    if any(parameter.kind is _Parameter.VAR_POSITIONAL for parameter in parameters):
        return "asgi"
    required = [p for p in parameters if p.kind in _PLACES and p.default is _Parameter.empty]
    return {1: "asgi2", 2: "wsgi"}.get(len(required), "asgi")


def adapt(
    app: object,
    interface: str,
    threads: int,
    limit: float = 0.0,
    report: Callable[[Overdue], None] | None = None,
) -> App:
    """The application as ASGI 3. ``interface`` is "auto", "asgi", "wsgi" or "callable".

    A callable stays what it is: it never meets a server that speaks ASGI. ``threads``, ``limit``
    and ``report`` are for `WsgiApp`.
    """
    if interface == "callable":
        return cast("App", app)
    found = detect(app)
    if interface == "wsgi" or (interface == "auto" and found == "wsgi"):
        return WsgiApp(cast("Callable[..., Any]", app), threads, limit, report)
    if found == "asgi2":
        return _asgi3(cast("Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]", app))
    return cast("App", app)


def _asgi3(app: "Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]") -> App:
    """The old ASGI is called twice: with the scope, and what it returns with the rest."""

    async def single(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return single
