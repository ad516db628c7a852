"""Say which worker a session belongs to. Pure.

A worker that makes a session may name itself in the session's id (`mint`). Any other key has a
home among the slots that serve (`home`), which moves only if that slot is gone.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from tercio.core.model import WorkerId

_TOKEN: Final = re.compile(
    r"([0-9]{1,6})\.([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9a-f]{12})(?:~[!-~]*)?"
)

LONGEST: Final = 256
"""Bytes of a key that count; a longer one is told apart by its first ones."""


def mint(worker: WorkerId, secret: bytes) -> str:
    """A new session id that names ``worker``: 128 random bits, fit for a cookie or a URL.

    ``secret`` is the cluster's, of at most 64 bytes: what it did not sign is a key like others.
    An application may put a ``~`` and an id of its own behind it.
    """
    body = f"{worker.slot}.{worker.incarnation}.{secrets.token_urlsafe(16)}"
    return f"{body}.{_sign(body, secret)}"


def minter(key: bytes, secret: bytes) -> WorkerId | None:
    """The worker that an id names; None if it is no id of this cluster."""
    try:
        found = _TOKEN.fullmatch(key.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    slot, incarnation, random, signature = found.groups()
    expected = _sign(f"{slot}.{incarnation}.{random}", secret)
    if not hmac.compare_digest(signature, expected):
        return None
    return WorkerId(int(slot), int(incarnation))


def fingerprint(key: bytes, secret: bytes) -> int:
    """64 bits that stand for a key; nobody without the secret can make two keys meet."""
    return int.from_bytes(blake2b(key[:LONGEST], digest_size=8, key=secret).digest(), "little")


def home(fingerprint: int, slots: Iterable[int]) -> int | None:
    """The slot that a key belongs to, of those given; None if there is none.

    Each slot's weight is a mix of the key and its number, and the heaviest wins: without one slot,
    only its own keys go elsewhere (Thaler and Ravishankar, 1998, "highest random weight").
    """
    return max(slots, key=lambda slot: _mix(fingerprint ^ (slot + 1) * _GOLDEN), default=None)


_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


def _mix(value: int) -> int:
    """The finisher of splitmix64 (Steele, Lea and Flood, 2014): each bit changes half of all."""
    value &= _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def _sign(body: str, secret: bytes) -> str:
    return blake2b(body.encode(), digest_size=6, key=secret, person=b"tercio-affinity").hexdigest()
