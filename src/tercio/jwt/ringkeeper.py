"""Where `Tokens` gets its keys: from the ring in the shared state, or from outside.

The ring is read once a second at most. A key is published long before it signs, so nobody meets an
unknown one; where that happens all the same (`rotate(at_once=True)`) the ring is read again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast

from tercio.errors import ConfigError
from tercio.jwt.ring import Ring, RingKey
from tercio.state.state import State

if TYPE_CHECKING:
    from tercio.jwt.keys import Given, SigningKey

PROPAGATION: Final = 300.0
"""Seconds after which whoever fetches the public keys has fetched them again."""

_KEPT: Final = 1.0  # seconds that the ring is used without looking again
_NOW: Final = 0.0  # who names an unknown key costs one look, as who brings a good token does
_LONGEST: Final = "longest"


class Keeper(Protocol):
    """Finds keys. ``now`` is in seconds since 1970."""

    async def signing(self, state: State, now: float) -> "SigningKey": ...

    async def verifying(self, state: State, id: str, now: float) -> "SigningKey | None": ...

    async def all(self, state: State, now: float) -> "Sequence[SigningKey]": ...

    async def rotate(
        self, state: State, now: float, *, at_once: bool
    ) -> tuple[str, Sequence[str]]: ...

    async def longest(self, state: State, now: float) -> float: ...


class Longest:
    """How long any token lives: before a reload the application may have given them longer."""

    def __init__(self, lifetime: float) -> None:
        self.seconds = lifetime
        self._is_told = False

    async def tell(self, state: State) -> float:
        """Have it known, once, before the first token is signed."""
        if not self._is_told:
            self.seconds = await state.update(
                _LONGEST, lambda known: max(known, self.seconds), self.seconds, type=float
            )
            self._is_told = True
        return self.seconds

    async def ask(self, state: State) -> float:
        """What any worker has told."""
        known = await state.get(_LONGEST, 0.0, type=float)
        return max(known, self.seconds)


class GivenKeys:
    """Keys from outside. The first one signs."""

    def __init__(self, keys: "Given | Sequence[Given]", algorithm: str, lifetime: float) -> None:
        """Raises `ConfigError`, and `ImportError` without joserfc."""
        from tercio.jwt.keys import checked_algorithm, given

        is_one = isinstance(keys, str | bytes | Mapping)
        several = cast("Sequence[Given]", [keys] if is_one else keys)
        checked_algorithm(algorithm)
        self._keys = [given(key, algorithm) for key in several]
        if not self._keys:
            raise ConfigError("jwt: key: expected one at least")
        self._longest = Longest(lifetime)

    async def signing(self, state: State, now: float) -> "SigningKey":
        """The first one. Raises `ConfigError` if it is public."""
        if not self._keys[0].is_private:
            raise ConfigError("jwt: the key is public: it verifies, and cannot sign")
        await self._longest.tell(state)
        return self._keys[0]

    async def verifying(self, state: State, id: str, now: float) -> "SigningKey | None":
        """The one of that name."""
        return next((key for key in self._keys if key.id == id), None)

    async def all(self, state: State, now: float) -> "Sequence[SigningKey]":
        """All of them."""
        return self._keys

    async def rotate(self, state: State, now: float, *, at_once: bool) -> tuple[str, Sequence[str]]:
        """Raises `ConfigError`."""
        raise ConfigError(
            "jwt: the keys are given from outside: put a new one first there, keep the old one "
            "behind it until its tokens have expired, and reload"
        )

    async def longest(self, state: State, now: float) -> float:
        """Seconds that any token lives."""
        return await self._longest.ask(state)


class SharedKeys:
    """The ring in the shared state, made by whoever needs it first."""

    def __init__(
        self, algorithm: str, lifetime: float, every: float | None, propagation: float
    ) -> None:
        """Raises `ConfigError`, and `ImportError` without joserfc."""
        from tercio.jwt.keys import checked_algorithm

        self._algorithm = checked_algorithm(algorithm)
        if not 2 * _KEPT <= propagation < float("inf"):
            raise ConfigError(f"jwt: propagation={propagation}: expected {2 * _KEPT:g} or more")
        if every is not None and not propagation < every < float("inf"):
            raise ConfigError(f"jwt: rotate_every={every}: expected more than {propagation=}")
        self._every = every
        self._propagation = propagation
        # Another algorithm is another ring: no key is ever used with two.
        self._name = f"ring:{algorithm}"
        self._longest = Longest(lifetime)
        self._ring = Ring()
        self._read_at: float | None = None

    async def signing(self, state: State, now: float) -> "SigningKey":
        """The active one."""
        await self._longest.tell(state)
        ring = await self._current(state, now)
        active = ring.active(now)
        assert active is not None, "a ring that is due gets a key"
        return _ready(active)

    async def verifying(self, state: State, id: str, now: float) -> "SigningKey | None":
        """The one of that name, unless its tokens have expired."""
        for kept in (_KEPT, _NOW):
            ring = await self._current(state, now, kept)
            for key in ring.good(now, self._longest.seconds):
                if key.id == id:
                    return _ready(key)
        return None

    async def all(self, state: State, now: float) -> "Sequence[SigningKey]":
        """All that verify, and the next one."""
        ring = await self._current(state, now)
        return [_ready(key) for key in ring.good(now, self._longest.seconds)]

    async def rotate(self, state: State, now: float, *, at_once: bool) -> tuple[str, Sequence[str]]:
        """The name of the new key, and those of the keys that are gone."""
        longest = await self._longest.tell(state)
        made = await self._make(now if at_once else now + self._propagation)
        gone: list[str] = []

        def change(ring: Ring) -> Ring:
            gone.clear()
            if at_once:
                gone.extend(key.id for key in ring.keys)
                return ring.only(made, now)
            if ring.next(now) is not None:
                return ring
            return ring.with_next(made, now, longest)

        self._ring = await state.update(self._name, change, Ring(), type=Ring)
        self._read_at = now
        return self._ring.keys[-1].id, gone

    async def longest(self, state: State, now: float) -> float:
        """Seconds that any token lives."""
        return await self._longest.ask(state)

    async def _current(self, state: State, now: float, kept: float = _KEPT) -> Ring:
        # A clock that was set back makes it look again, too.
        if self._read_at is None or not 0.0 <= now - self._read_at < kept:
            self._ring = await state.get(self._name, Ring(), type=Ring)
            self._longest.seconds = await self._longest.ask(state)
            self._read_at = now
            if self._ring.is_due(now, self._every, self._propagation):
                await self._extend(state, now)
        return self._ring

    async def _extend(self, state: State, now: float) -> None:
        """Add the key that is due, unless another worker does."""
        active = self._ring.active(now)
        if active is None or self._every is None:
            begin = now
        else:
            begin = max(now + self._propagation, active.signs_from + self._every)
        made = await self._make(begin)
        longest = self._longest.seconds

        def change(ring: Ring) -> Ring:
            is_due = ring.is_due(now, self._every, self._propagation)
            return ring.with_next(made, now, longest) if is_due else ring

        self._ring = await state.update(self._name, change, Ring(), type=Ring)

    async def _make(self, signs_from: float) -> RingKey:
        from tercio.jwt.keys import make

        id, jwk = await asyncio.to_thread(make, self._algorithm)
        return RingKey(id, self._algorithm, jwk, signs_from)


def _ready(key: RingKey) -> "SigningKey":
    from tercio.jwt.keys import of_ring

    return of_ring(key.id, key.algorithm, key.jwk)
