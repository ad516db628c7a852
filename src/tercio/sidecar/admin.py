"""The admin address: the control verbs as an HTTP API, behind its guard."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from tercio.errors import ControlError
from tercio.http.asgi import Receive, Scope, Send
from tercio.sidecar import pages
from tercio.sidecar.answers import Answer, Refused, as_json
from tercio.sidecar.control import Control
from tercio.sidecar.guard import Guard, Visitor
from tercio.sidecar.health import header
from tercio.sidecar.routes import ROUTES, Route, openapi
from tercio.sidecar.schemas import fault
from tercio.sidecar.scrape import Scrape
from tercio.sidecar.sessions import COOKIE, LASTS
from tercio.sidecar.stream import States, Viewers

_MOST_BODY: Final = 16 * 1024
_AT_ONCE: Final = 8  # questions to the primary by those who read
_PATIENCE: Final = 2.0  # seconds that one of them waits for its turn
_LONGEST: Final = 3600.0  # seconds; the primary ends a reload long before

_log = logging.getLogger("tercio")


class Admin:
    """An ASGI application."""

    def __init__(self, control: Control, scrape: Scrape, guard: Guard) -> None:
        self._control = control
        self._scrape = scrape
        self._guard = guard
        # Who reads may need no token: the places at the control socket are for others, too.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._viewers = Viewers(control, States(control, scrape))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._guard.check_host(scope)  # first, and on every path
            if (page := pages.answer(scope)) is not None:
                # A link from elsewhere may lead to the page, which holds nothing.
                if not pages.is_visit(scope):
                    self._guard.check_site(scope, is_change=False)
                await page.send(send, with_body=scope["method"] != "HEAD")
                return
            route, slot = _found(scope)
            visitor = await self._guard.admit(scope, route)
            if route.name in ("events", "stream"):
                await self._stream(scope, receive, send, route, visitor)
                return
            answer = await self._answer(scope, receive, route, visitor, slot)
        except Refused as refused:
            answer = refused.answer
        except ControlError as error:
            answer = as_json({"error": str(error)}, 409)
        except TimeoutError:
            answer = as_json({"error": "the primary did not answer in time"}, 504)
        except OSError:
            answer = as_json({"error": "the primary does not answer"}, 503)
        await answer.send(send)

    async def _answer(
        self, scope: Scope, receive: Receive, route: Route, visitor: Visitor, slot: int
    ) -> Answer:
        match route.name:
            case "openapi":
                return as_json(openapi())
            case "metrics":
                return await self._scrape.answer(header(scope, b"accept"))
            case "dump_of":
                return as_json(await self._read("dump", {"slot": slot}))
            case "status" | "config":
                return as_json(await self._read(route.name))
        body = await _body(receive, route)
        match route.name:
            case "login":
                return self._log_in(scope, str(body["token"]))
            case "logout":
                self._guard.log_out(scope)
                return as_json({}, headers={"set-cookie": _cookie(scope, "", 0)})
            case _:
                return await self._order(route, body, visitor)

    async def _read(
        self, do: str, arguments: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        async with asyncio.timeout(_PATIENCE):
            await self._turns.acquire()
        try:
            return await self._control.ask(do, arguments)
        finally:
            self._turns.release()

    async def _order(self, route: Route, body: Mapping[str, object], visitor: Visitor) -> Answer:
        _log.info("admin: %s asks for %s %s", visitor.name, route.name, json.dumps(body))
        arguments = {**body, "wait": body.get("wait", False)}
        if "to" in arguments:
            arguments["to"] = str(arguments["to"])
        limit = _LONGEST if arguments["wait"] else 10.0
        return as_json(await self._control.ask(route.name, arguments, limit=limit))

    def _log_in(self, scope: Scope, secret: str) -> Answer:
        name, session = self._guard.log_in(scope, secret)
        told = {"csrf": session.forgery_word, "scope": session.token.scope}
        return as_json(told, headers={"set-cookie": _cookie(scope, name, int(LASTS))})

    async def _stream(
        self, scope: Scope, receive: Receive, send: Send, route: Route, visitor: Visitor
    ) -> None:
        await self._viewers.serve(
            receive,
            send,
            lambda: self._guard.is_still_welcome(visitor),
            since=_since(scope),
            with_state=route.name == "stream",
            has_token=visitor.token is not None,
        )


def _found(scope: Scope) -> tuple[Route, int]:
    allowed = []
    for route in ROUTES:
        if match := route.pattern.fullmatch(scope["path"]):
            if route.method == scope["method"]:
                return route, int(match.groupdict().get("slot") or 0)
            allowed.append(route.method)
    if allowed:
        raise Refused(405, "another method is needed", {"allow": ", ".join(allowed)})
    raise Refused(404, "there is no such page; see /api/v1/openapi.json")


async def _body(receive: Receive, route: Route) -> Mapping[str, object]:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the body has no end")
        parts += message.get("body", b"")
        if len(parts) > _MOST_BODY:
            raise Refused(413, f"a body has at most {_MOST_BODY} bytes")
        if not message.get("more_body"):
            break
    try:
        value = json.loads(bytes(parts), parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise Refused(422, "the body is no JSON") from error
    if wrong := fault(value, route.body or {}):
        raise Refused(422, wrong)
    assert isinstance(value, dict)
    return value


def _number(text: str) -> int | float:
    """To JSON Schema, and so to those who read our document, 7.0 is a whole number."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _since(scope: Scope) -> int | None:
    """The last event that a viewer has: a browser says it when it connects again."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("since", [""])[-1]
    text = header(scope, b"last-event-id") or asked
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise Refused(422, "'since' must be the number of an event")
    return int(text)


def _cookie(scope: Scope, value: str, seconds: int) -> str:
    secure = "; Secure" if scope["scheme"] == "https" else ""
    limits = f"Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    return f"{COOKIE}={value}; {limits}{secure}"
