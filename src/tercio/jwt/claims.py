"""What a token says, and whether that holds here and now. Pure: time is an argument."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

RESERVED: Final = frozenset({"iss", "aud", "sub", "jti", "iat", "exp", "nbf"})
"""Claims that are `Tokens`' own."""

MOST_LEEWAY: Final = 60.0


class Refused(Exception):
    """The reason why a token is not good: for the log, never for who sent it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says. ``claims["role"]`` and ``claims.get("role")`` ask for your own."""

    subject: str
    """Whom it was issued for (``sub``)."""
    id: str
    """Its own name (``jti``), which `Tokens.revoke` takes."""
    issued: float
    """Seconds since 1970 (``iat``)."""
    expires: float
    """Seconds since 1970 (``exp``)."""
    values: Mapping[str, Any]
    """All of it."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: object = None) -> Any:
        """One claim, ``default`` if there is none."""
        return self.values.get(name, default)


@dataclass(frozen=True, slots=True)
class Rules:
    """What each token has to say."""

    issuer: str
    audience: str
    leeway: float
    """Seconds that clocks may differ."""

    def checked(self, values: object, now: float) -> Claims:
        """Raises `Refused` unless all of it is there and holds."""
        if not isinstance(values, dict):
            raise Refused("its claims are no object")
        if values.get("iss") != self.issuer:
            raise Refused(f"it is of another issuer: {values.get('iss')!r:.100}")
        audience = values.get("aud")
        if audience != self.audience and not (
            isinstance(audience, list) and self.audience in audience
        ):
            raise Refused(f"it is for another audience: {audience!r:.100}")
        issued, expires = _time(values, "iat"), _time(values, "exp")
        if expires <= now - self.leeway:
            raise Refused("it has expired")
        if issued > now + self.leeway:
            raise Refused("it was issued in the future")
        if "nbf" in values and _time(values, "nbf") > now + self.leeway:
            raise Refused("it is not valid yet")
        subject, id = _text(values, "sub"), _text(values, "jti")
        return Claims(subject, id, issued, expires, MappingProxyType(values))


def _time(values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    # bool is an int; NaN compares as neither early nor late.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Refused(f"{name} is no time")
    return value


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} is no text")
    return value
