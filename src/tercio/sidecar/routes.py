"""The one table of the admin API: it is served, documented and tested from here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from tercio import __version__
from tercio.sidecar.schemas import Schema

_BOOLEAN: Final = {"type": "boolean"}
_SLOT: Final = {"type": "integer", "minimum": 0, "maximum": 1023}


def _object(*required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Route:
    """One method of one path. ``scope`` is what a token must have; "" is for everybody."""

    method: str
    path: str
    name: str
    scope: str
    summary: str
    body: Schema | None = None
    content: str = "application/json"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the path of a request; a slot is at most four digits."""
        return re.compile(self.path.replace("{slot}", "(?P<slot>[0-9]{1,4})"), re.ASCII)

    @property
    def is_change(self) -> bool:
        """Whether it has an effect."""
        return self.method == "POST"


_EVENTS: Final = "text/event-stream"

ROUTES: Final = (
    Route("GET", "/api/v1/openapi.json", "openapi", "read", "This document"),
    Route("GET", "/api/v1/status", "status", "read", "The cluster and its workers"),
    Route("GET", "/api/v1/config", "config", "read", "All options; secrets are masked"),
    Route("GET", "/api/v1/workers/{slot}/dump", "dump_of", "read", "What a worker does now"),
    Route("GET", "/api/v1/events", "events", "read", "What happens", content=_EVENTS),
    Route("GET", "/api/v1/stream", "stream", "read", "State and events", content=_EVENTS),
    Route("GET", "/metrics", "metrics", "read", "A scrape", content="text/plain"),
    Route(
        "POST", "/api/v1/login", "login", "", "Change a token for a cookie",
        _object("token", token={"type": "string", "pattern": "^[ -~]{1,512}$"}),
    ),
    Route("POST", "/api/v1/logout", "logout", "read", "Forget the cookie", _object()),
    Route(
        "POST", "/api/v1/reload", "reload", "operate", "Load new code and options",
        _object(wait=_BOOLEAN),
    ),
    Route(
        "POST", "/api/v1/scale", "scale", "operate", "Change the number of workers",
        _object(
            "to",
            to={
                "oneOf": [
                    {"type": "integer", "minimum": 1, "maximum": 1024},
                    {"type": "string", "pattern": "^[+-]?[0-9]{1,4}$"},
                ]
            },
            wait=_BOOLEAN,
        ),
    ),
    Route(
        "POST", "/api/v1/recycle", "recycle", "operate", "Replace workers by fresh ones",
        _object(
            "slots",
            slots={
                "oneOf": [
                    {"enum": ["all"]},
                    {"type": "array", "items": _SLOT, "minItems": 1, "maxItems": 1024},
                ]
            },
            wait=_BOOLEAN,
        ),
    ),
    Route(
        "POST", "/api/v1/dump", "dump", "operate", "What a worker does now",
        _object("slot", slot=_SLOT),
    ),
    Route(
        "POST", "/api/v1/stop", "stop", "admin", "Stop the cluster",
        _object(now=_BOOLEAN),
    ),
)  # fmt: skip


def openapi() -> dict[str, Any]:
    """The document of the table."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tercio admin API", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route) -> Mapping[str, Any]:
    shape = {"type": "string"} if route.content != "application/json" else {"type": "object"}
    answers = {"200": {"description": "Done", "content": {route.content: {"schema": shape}}}}
    error = _object("error", error={"type": "string"})
    codes = [
        "400",
        "401",
        "403",
        "404",
        "405",
        "409",
        "413",
        "415",
        "421",
        "422",
        "429",
        "503",
        "504",
    ]
    for code in codes:
        content = {"application/json": {"schema": error}}
        answers[code] = {"description": "Refused", "content": content}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": answers,
        "security": [{"token": []}] if route.scope else [],
        "x-scope": route.scope,
    }
    if route.body is not None:
        content = {"application/json": {"schema": route.body}}
        operation["requestBody"] = {"required": True, "content": content}
    if "{slot}" in route.path:
        operation["parameters"] = [
            {"name": "slot", "in": "path", "required": True, "schema": _SLOT}
        ]
    return operation
