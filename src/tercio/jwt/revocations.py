"""What was revoked: tokens, everything of a subject so far, and keys. An entry ends with what it
is about.

Names are hashed: they come from tokens, and may be of any length.
"""

import hashlib
from typing import Final

from tercio.jwt.claims import Claims, Refused
from tercio.state.state import State

_HASH_BYTES: Final = 16


class Revocations:
    """The list, in the shared state: what one worker revokes all refuse at once."""

    async def revoke_token(self, state: State, id: str, ttl: float) -> None:
        """Refuse one token, which lives for ``ttl`` seconds at most."""
        await state.set(_token(id), True, ttl=ttl)

    async def revoke_subject(self, state: State, subject: str, now: float, ttl: float) -> None:
        """Refuse all that was issued for somebody up to ``now``."""
        await state.update(
            _subject(subject), lambda before: max(now, before), now, ttl=ttl, type=float
        )

    async def revoke_key(self, state: State, id: str, ttl: float) -> None:
        """Refuse all that a key has signed, also in workers that don't know yet that it is gone."""
        await state.set(_key(id), True, ttl=ttl)

    async def check(self, state: State, claims: Claims, key: str) -> None:
        """One look at the state. Raises `Refused`."""
        token, subject, of_key = await state.mget(
            _token(claims.id), _subject(claims.subject), _key(key)
        )
        if token is not None:
            raise Refused(f"token {claims.id!r:.50} was revoked")
        if isinstance(subject, int | float) and claims.issued <= subject:
            raise Refused("its subject's tokens were revoked")
        if of_key is not None:
            raise Refused(f"key {key} was revoked")


def _token(id: str) -> str:
    return "token:" + _hashed(id)


def _subject(subject: str) -> str:
    return "subject:" + _hashed(subject)


def _key(id: str) -> str:
    return "key:" + _hashed(id)


def _hashed(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
