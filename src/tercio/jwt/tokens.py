"""Sign tokens at any worker and verify them at all."""

import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from tercio import cluster
from tercio.errors import ConfigError, InvalidToken
from tercio.jwt.claims import MOST_LEEWAY, RESERVED, Claims, Refused, Rules
from tercio.jwt.revocations import Revocations
from tercio.jwt.ringkeeper import PROPAGATION, GivenKeys, Keeper, SharedKeys
from tercio.state.state import State

if TYPE_CHECKING:
    from tercio.jwt.keys import Algorithm, Given

_log = logging.getLogger("tercio.jwt")

_NAMESPACE: Final = ".jwt"
_ID_BYTES: Final = 16


class Tokens:
    """Tokens of one issuer for one audience, with the same keys in all workers."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        algorithm: "Algorithm" = "Ed25519",
        lifetime: float = 900.0,
        leeway: float = 10.0,
        rotate_every: float | None = 30 * 86400.0,
        propagation: float = PROPAGATION,
        key: "Given | Sequence[Given] | None" = None,
        name: str = "tokens",
        state: State | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``issuer`` and ``audience`` are written in each token and asked of each.

        ``lifetime``: seconds that a token lives at most. ``leeway``: seconds that clocks may
        differ, 60 at most. A new key is made every ``rotate_every`` seconds (None: by `rotate`
        alone), and published ``propagation`` seconds before it signs. ``name``: of the ring and of
        the list of what was revoked; those of one name share both.

        ``key``: one from outside in place of the ring, a PEM, a JWK or the secret of HS256; of
        several the first one signs. ``clock`` gives seconds since 1970. Raises `ConfigError`, also
        without the extra ``jwt``.
        """
        if not issuer or not audience:
            raise ConfigError("jwt: issuer and audience must not be empty")
        if not 0 < lifetime < float("inf"):
            raise ConfigError(f"jwt: lifetime={lifetime}: expected seconds above 0")
        if not 0 <= leeway <= MOST_LEEWAY:
            raise ConfigError(f"jwt: leeway={leeway}: expected 0 to {MOST_LEEWAY:g} seconds")
        self.lifetime: Final = lifetime
        self._rules = Rules(issuer, audience, leeway)
        self._given = state
        self._name = name
        self._clock = clock
        self._kept: tuple[object, State] | None = None
        self._revocations = Revocations()
        self._keys: Keeper
        try:
            if key is None:
                self._keys = SharedKeys(algorithm, lifetime, rotate_every, propagation)
            else:
                self._keys = GivenKeys(key, algorithm, lifetime)
        except ImportError as error:
            raise ConfigError("jwt: joserfc is not here: pip install 'tercio[jwt]'") from error

    async def sign(self, subject: str, *, lifetime: float | None = None, **claims: object) -> str:
        """A token for ``subject``; ``claims`` are what JSON knows, and anybody can read them.

        ``lifetime``: of this one, in seconds; no longer than that of all. Raises `ValueError` for
        one that is, for a claim of our own or a token of more than 8 KiB, `TypeError` for what
        JSON does not know, `ConfigError` with a public key.
        """
        if not subject:
            raise ValueError("subject must not be empty")
        lives = self.lifetime if lifetime is None else lifetime
        if not 0 < lives <= self.lifetime:
            raise ValueError(f"lifetime={lifetime}: expected up to {self.lifetime:g} seconds")
        if taken := RESERVED & claims.keys():
            raise ValueError(f"Tokens itself writes {', '.join(sorted(taken))}")
        now = self._clock()
        key = await self._keys.signing(self._state, now)
        text = key.sign(
            {
                "iss": self._rules.issuer,
                "aud": self._rules.audience,
                "sub": subject,
                "jti": secrets.token_urlsafe(_ID_BYTES),
                # With its fraction: it tells what was issued just after `revoke_subject`.
                "iat": now,
                "exp": math.ceil(now + lives),
                **claims,
            }
        )
        from tercio.jwt.keys import MOST_BYTES

        if len(text) > MOST_BYTES:
            raise ValueError(f"the token has {len(text)} bytes, and may have {MOST_BYTES}")
        return text

    async def verify(self, token: str) -> Claims:
        """What a good token says. Raises `InvalidToken`, which says nothing more, for all others.

        Raises `StateError` when the state cannot tell whether it was revoked: nothing is let in
        unseen.
        """
        try:
            return await self._verified(token)
        except Refused as reason:
            _log.debug("a token was refused: %s", reason)
        raise InvalidToken("the token is not valid")

    async def _verified(self, token: str) -> Claims:
        from tercio.jwt.keys import read

        unverified = read(token)
        now = self._clock()
        key = await self._keys.verifying(self._state, unverified.id, now)
        if key is None:
            raise Refused("its key is none of ours, or not any more")
        claims = self._rules.checked(unverified.values(key), now)
        await self._revocations.check(self._state, claims, key.id)
        return claims

    async def revoke(self, token: Claims | str) -> None:
        """Refuse a token from now on, in all workers. Takes what `verify` returned, or its id."""
        now = self._clock()
        if isinstance(token, Claims):
            id, ttl = token.id, token.expires - now + 2 * MOST_LEEWAY
        else:
            id, ttl = token, await self._longest()
        if ttl > 0:
            await self._revocations.revoke_token(self._state, id, ttl)

    async def revoke_subject(self, subject: str) -> None:
        """Refuse all that was issued for somebody so far: "log out everywhere"."""
        ttl = await self._longest()
        await self._revocations.revoke_subject(self._state, subject, self._clock(), ttl)

    async def rotate(self, *, at_once: bool = False) -> str:
        """Publish a new key, which signs after ``propagation`` seconds, and return its name.

        One that is published already is the one. ``at_once``: a key was stolen: the new one signs
        now, all others are gone and so is every token that they signed. Raises `ConfigError` where
        keys are given from outside.
        """
        key, gone = await self._keys.rotate(self._state, self._clock(), at_once=at_once)
        for id in gone:
            await self._revocations.revoke_key(self._state, id, await self._longest())
        return key

    async def jwks(self) -> dict[Literal["keys"], list[dict[str, object]]]:
        """The public keys, as others fetch them to verify; none of HS256, whose keys are secret."""
        keys = await self._keys.all(self._state, self._clock())
        return {"keys": [key.public() for key in keys if key.algorithm != "HS256"]}

    async def _longest(self) -> float:
        """Seconds after which everything that was issued until now has expired."""
        return await self._keys.longest(self._state, self._clock()) + 2 * MOST_LEEWAY

    @property
    def _state(self) -> State:
        given = cluster.state if self._given is None else self._given
        if self._kept is None or self._kept[0] is not given:
            try:
                self._kept = given, given.namespace(_NAMESPACE).namespace(self._name)
            except ValueError as error:
                raise ConfigError(f"jwt: name: {error}") from None
        return self._kept[1]
