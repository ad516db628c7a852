"""Ask an application for a page without a connection: is it ready?"""

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import unquote

from tercio.http.asgi import App, Message, Scope

_log = logging.getLogger("tercio.probe")

_FAILED = 500


async def get(
    app: App, path: str, *, root_path: str, host: str, scheme: str, state: Mapping[str, object]
) -> int:
    """The status of ``GET path``; 500 if the application raised or answered nothing.

    It waits as long as the application does: the caller has the deadline.
    """
    plain, _, query = path.partition("?")
    name, _, port = host.rpartition(":")
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": root_path + unquote(plain),
        "raw_path": (root_path + plain).encode("ascii", "replace"),
        "query_string": query.encode("ascii", "replace"),
        "root_path": root_path,
        "headers": [
            (b"host", host.encode("latin-1", "replace")),
            (b"user-agent", b"tercio-ready"),
            (b"accept", b"*/*"),
        ],
        "server": (name, int(port)) if port.isdecimal() else (host, None),
        "client": ("127.0.0.1", 0),
        "state": dict(state),
    }
    status = _FAILED
    request: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
    is_complete = asyncio.Event()

    async def receive() -> Message:
        if request:
            return request.pop()
        await is_complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif not message.get("more_body", False):
            is_complete.set()

    try:
        await app(scope, receive, send)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        _log.warning("GET %s raised %r", path, error, exc_info=error)
        return _FAILED
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        _log.warning("GET %s raised %r", path, error, exc_info=error)
        return _FAILED
    return status
