"""Whole keys: what kind of thing, in which namespace, by which name.

v:shop:cart-7      the value "cart-7" in the namespace "shop"
"""

import math
import operator
import re
from typing import Final

from tercio.errors import ValueTooLarge

LIMIT: Final = 400
"""Bytes of a whole key, and of a member of a group, on every engine."""

VALUE: Final = b"v"
LOCK: Final = b"l"
QUEUE: Final = b"q"
GROUP: Final = b"g"
FIXED: Final = b"wf"
MOVING: Final = b"wm"
SLIDING: Final = b"ws"

LIMITS: Final = (FIXED, MOVING, SLIDING)
WIPED: Final = (VALUE, QUEUE, GROUP, *LIMITS)
"""Not locks: their tokens only ever grow."""

_SHOWN: Final = {
    LOCK: "lock ",
    QUEUE: "queue ",
    GROUP: "group ",
    FIXED: "limit ",
    MOVING: "limit ",
    SLIDING: "limit ",
}
_NAMESPACE: Final = re.compile(r"[^:\x00-\x1f]{1,100}")


class Keys:
    """The keys of one namespace."""

    __slots__ = ("_values", "namespace")

    def __init__(self, namespace: str = "") -> None:
        """Raises `ValueError` for a name that has a colon or is longer than 100 characters."""
        if namespace and not _NAMESPACE.fullmatch(namespace):
            raise ValueError(
                f"namespace {namespace!r}: expected 1 to 100 characters and no colon among them"
            )
        self.namespace: str = namespace
        self._values = self.of(VALUE, "")

    def value(self, name: str) -> bytes:
        """The key of a value. Raises `ValueTooLarge`."""
        try:
            key = self._values + name.encode()
        except AttributeError:
            raise _no_name(name) from None
        return key if len(key) <= LIMIT else _refuse(name)

    def of(self, kind: bytes, name: str) -> bytes:
        """The key of something of another kind. Raises `ValueTooLarge`."""
        try:
            key = b"%b:%b:%b" % (kind, self.namespace.encode(), name.encode())
        except AttributeError:
            raise _no_name(name) from None
        return key if len(key) <= LIMIT else _refuse(name)

    def name(self, key: bytes) -> str:
        """The name in the key of a value."""
        return key[len(self._values) :].decode()

    def inner(self, namespace: str) -> str:
        """The name of a namespace within this one."""
        return f"{self.namespace}.{namespace}" if self.namespace else namespace


def shown(key: bytes) -> str:
    """A whole key, for people: ``lock 'door' of 'billing'``."""
    kind, _, rest = key.decode(errors="replace").partition(":")
    namespace, _, name = rest.partition(":")
    what = _SHOWN.get(kind.encode(), "")
    return f"{what}{name!r}" + (f" of {namespace!r}" if namespace else "")


def checked_ttl(ttl: float | None) -> float | None:
    """Raises `ValueError` for a time to live that is none."""
    if ttl is not None and not 0.0 < ttl < math.inf:
        raise ValueError(f"ttl {ttl!r}: expected seconds, more than 0, or None for ever")
    return ttl


def whole(number: int, what: str) -> int:
    """A whole number as a plain int. Raises `TypeError` for what is none, such as 1.0."""
    if type(number) is int:
        return number
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{what}={number!r}: expected a whole number (an int)") from None


def _refuse(name: str) -> bytes:
    raise ValueTooLarge(f"key {name[:40]!r}…: with its namespace it is longer than {LIMIT} bytes")


def _no_name(name: object) -> TypeError:
    return TypeError(f"a key or a name is a str, not {name!r}")
