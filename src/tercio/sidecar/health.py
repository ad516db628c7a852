"""The health address: probes and scrapes, for whoever comes. It changes nothing."""

import asyncio

from tercio.errors import ControlError
from tercio.http.asgi import Receive, Scope, Send
from tercio.sidecar.answers import Answer, Refused, as_text
from tercio.sidecar.control import Control
from tercio.sidecar.scrape import Scrape

_PATIENCE = 2.0  # seconds; Kubernetes waits one for a probe, and asks three times
_AT_ONCE = 8  # questions to the primary


class Health:
    """An ASGI application."""

    def __init__(self, control: Control, scrape: Scrape) -> None:
        self._control = control
        self._scrape = scrape
        # Strangers may come here: they must not take all places at the control socket.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope)
        except Refused as refused:
            answer = refused.answer
        await answer.send(send, with_body=scope["method"] != "HEAD")

    async def _answer(self, scope: Scope) -> Answer:
        path = scope["path"]
        if path not in ("/livez", "/readyz", "/startupz", "/metrics"):
            raise Refused(404, "there are /livez, /readyz, /startupz and /metrics")
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused(405, "GET or HEAD", {"allow": "GET, HEAD"})
        if path == "/metrics":
            return await self._scrape.answer(header(scope, b"accept"))
        try:
            async with asyncio.timeout(_PATIENCE), self._turns:
                health = await self._control.ask("health")
        except ControlError as error:
            if path == "/livez":
                return as_text("ok")  # who says that it is busy is alive
            return as_text(f"the primary refuses: {error}", 503)
        except (OSError, TimeoutError) as error:  # it is stopped, or gone
            return as_text(f"the primary does not answer: {error or 'it took too long'}", 503)
        if path == "/livez":
            return as_text("ok")
        is_good = health.get("started" if path == "/startupz" else "ready")
        return as_text("ok" if is_good else str(health.get("why")), 200 if is_good else 503)


def header(scope: Scope, name: bytes) -> str:
    """A header of a request; "" for none or for more than one."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""
