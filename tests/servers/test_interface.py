"""What an application speaks is told by its shape."""

import functools
from typing import Any

import pytest

from tercio.servers.interface import detect


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_by_shape(scope: Any, receive: Any, send: Any) -> Any: ...


def asgi2(scope: Any) -> Any: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


def anything(*arguments: Any) -> Any: ...


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class Wsgi:
    def __call__(self, environ: Any, start_response: Any, extra: int = 0) -> Any: ...


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (asgi, "asgi"),
        (asgi_by_shape, "asgi"),
        (asgi2, "asgi2"),
        (wsgi, "wsgi"),
        (anything, "asgi"),
        (Asgi(), "asgi"),
        (Asgi().method, "asgi"),
        (Wsgi(), "wsgi"),
        (Asgi2, "asgi2"),
        (functools.partial(asgi), "asgi"),
        (functools.partial(anything, 1), "asgi"),
        (functools.partial(Wsgi().__call__, extra=1), "wsgi"),
        (print, "asgi"),
    ],
)
def test_the_shape_tells(app: object, expected: str) -> None:
    assert expected == detect(app)
