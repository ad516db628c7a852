"""Sessions in the shared state: opaque ids, two ends of life, and no way back for a revoked one.

The state knows hashes of ids only, so that who reads it cannot take a session over.
"""

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tercio import cluster
from tercio.codec import decode
from tercio.errors import ConfigError
from tercio.sessions.record import NONE, Changes, Lifetime, Record, packed
from tercio.state.group import Group
from tercio.state.state import State

DAY: Final = 86400.0
_NAMESPACE: Final = ".sessions"
_ID_BYTES: Final = 32  # OWASP asks for 64 bits of chance at least; these are 256
_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MOVED_FOR: Final = 60.0
"""Seconds for requests that were under way with the id before: they must not begin another session
and overwrite the new cookie."""


class Gone(Exception):
    """The session was revoked, or is over: nothing was stored."""


@dataclass(frozen=True, slots=True)
class Found:
    """A session that is good."""

    record: Record
    left: float
    """Seconds until it ends when nobody comes."""
    is_renewed: bool = False
    """Its idle time began anew by this call, so that the cookie's should, too."""


class SessionStore:
    """Sessions by id, for all processes of the cluster."""

    def __init__(
        self,
        state: State | None = None,
        *,
        idle: float = 14 * DAY,
        max_age: float = 30 * DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A session ends after ``idle`` seconds without a request, and ``max_age`` seconds after it
        began. ``state`` is `cluster.state` unless another one is given. ``clock`` gives seconds
        since 1970. Raises `ConfigError` for what is no time.
        """
        if not (0 < idle < float("inf") and 0 < max_age < float("inf")):
            raise ConfigError(f"sessions: idle={idle}, max_age={max_age}: expected seconds above 0")
        self.lifetime: Final = Lifetime(idle, max_age)
        self._given = state
        self._clock = clock
        self._kept: tuple[object, State] | None = None

    @property
    def is_near(self) -> bool:
        """Whether `load_now` may be used: to read waits for nothing."""
        return self._state.is_near

    async def load(self, id: str) -> Found | None:
        """The session with this id, None if there is none that is good."""
        return self.judged(await self.look(id))

    async def look(self, id: str) -> Record | None:
        """What is stored under this id, good or not."""
        return await self._state.get(_key(id), type=Record)

    def look_now(self, id: str) -> Record | None:
        """The same where `is_near`, without giving way to other tasks."""
        return self._state.get_near(_key(id), type=Record)

    def judged(self, record: Record | None) -> Found | None:
        """None if it is over, or has another id now."""
        if record is None or record.is_rotated:
            return None
        left = self.lifetime.left(record, self._clock())
        return Found(record, left) if left > 0 else None

    def wants_renewal(self, record: Record) -> bool:
        """Whether `save` is due although nothing was changed."""
        return self.lifetime.wants_renewal(record, self._clock())

    def left_of(self, record: Record | None) -> float:
        """Seconds that a session has whose idle time begins now; None: all of it does."""
        now = self._clock()
        created = now if record is None else record.created
        return min(self.lifetime.idle, created + self.lifetime.absolute - now)

    async def create(self, changes: Changes, subject: str | None = None) -> str:
        """Begin a session and return its id, which nobody can guess or choose."""
        now = self._clock()
        return await self._begin(Record(changes.on({}), now, now, subject))

    async def save(self, id: str, changes: Changes = NONE) -> Found | None:
        """Store what one request changed, whatever others changed meanwhile.

        None: nothing is left in it, so it is gone. Raises `Gone` if it was revoked meanwhile: what
        was logged out stays so.
        """
        return await self._change(id, lambda record: changes.on(record.values))

    async def change(
        self, id: str, key: str, change: Callable[[Any], Any], default: object = None
    ) -> Any:
        """Replace one value by what ``change`` makes of it, and return that; None removes it.

        It is called again when somebody was faster, so it does nothing else. Raises `Gone`.
        """
        new: Any = None

        def changed(record: Record) -> dict[str, msgspec.Raw]:
            nonlocal new
            body = record.values.get(key)
            new = change(default if body is None else decode(memoryview(body)))
            values = {name: each for name, each in record.values.items() if name != key}
            return values if new is None else values | {key: packed(new)}

        await self._change(id, changed)
        return new

    async def rotate(self, id: str, changes: Changes = NONE, subject: str | None = None) -> str:
        """Give a session another id, as is due when somebody logs in; ``subject`` says who.

        The id before is worth nothing from then on. Raises `Gone`.
        """
        found = await self.load(id)
        if found is None:
            raise Gone
        now, old = self._clock(), found.record
        # The new one is there, and can be revoked, before the old one ends: see `revoke_all`.
        values = changes.on(old.values)
        new_id = await self._begin(Record(values, old.created, now, subject or old.subject))
        latest = old

        def bury(record: Record | None) -> Record:
            nonlocal latest
            if record is None or self.judged(record) is None:
                raise Gone
            latest = record
            return Record({}, now, now, is_rotated=True)

        try:
            await self._state.update(_key(id), bury, None, ttl=_MOVED_FOR, type=Record)
            if latest.values != old.values:  # by another request, since we looked
                wanted = changes.on(latest.values)
                await self.save(new_id, Changes(wanted, frozenset(values) - frozenset(wanted)))
        except Gone:  # it was revoked meanwhile: so is its successor
            await self.revoke(new_id)
            raise
        if old.subject is not None:
            await self._sessions_of(old.subject).discard(_key(id))
        return new_id

    async def revoke(self, id: str) -> bool:
        """End a session, for all workers at once. The answer: whether there was one."""
        return await self._remove(_key(id))

    async def revoke_all(self, subject: str) -> int:
        """Log somebody out everywhere: end all sessions whose ``subject`` it is; how many."""
        group, total = self._sessions_of(subject), 0
        # Until there are none: one that gets a new id right now is listed before the old one ends.
        while keys := await group.members():
            for key in keys:
                total += await self._remove(key)
                await group.discard(key)
        return total

    async def count(self, subject: str) -> int:
        """How many sessions somebody has; some may be over since a moment."""
        return await self._sessions_of(subject).size()

    # Parts

    @property
    def _state(self) -> State:
        given = cluster.state if self._given is None else self._given
        if self._kept is None or self._kept[0] is not given:
            self._kept = given, given.namespace(_NAMESPACE)
        return self._kept[1]

    async def _begin(self, record: Record) -> str:
        id = secrets.token_urlsafe(_ID_BYTES)
        key, left = _key(id), self.lifetime.left(record, self._clock())
        if left <= 0:
            raise Gone
        if record.subject is not None:
            await self._sessions_of(record.subject).add(key)
        await self._state.set(key, record, ttl=left, nx=True)
        return id

    async def _change(
        self, id: str, change: Callable[[Record], dict[str, msgspec.Raw]]
    ) -> Found | None:
        now = self._clock()
        is_renewed = False

        def changed(record: Record | None) -> Record | None:
            nonlocal is_renewed
            if record is None or self.judged(record) is None:
                raise Gone
            values = change(record)
            if not values and record.subject is None:
                return None
            is_renewed = self.lifetime.wants_renewal(record, now)
            renewed = now if is_renewed else record.renewed
            return Record(values, record.created, renewed, record.subject)

        # The longest it can have: what is left of it is looked at whenever it is read.
        longest = min(self.lifetime.idle, self.lifetime.absolute)
        record = await self._state.update(_key(id), changed, None, ttl=longest, type=Record)
        if record is None:
            return None
        return Found(record, self.lifetime.left(record, now), is_renewed)

    async def _remove(self, key: str) -> bool:
        record = await self._state.get(key, type=Record)
        if record is not None and record.subject is not None:
            await self._sessions_of(record.subject).discard(key)
        return await self._state.delete(key) > 0 and record is not None and not record.is_rotated

    def _sessions_of(self, subject: str) -> Group:
        return self._state.group(f"of:{_key(subject)}", ttl=self.lifetime.absolute)


def is_id(text: str) -> bool:
    """Whether it could be an id of ours; whatever else comes in a cookie is not looked up."""
    return _ID.fullmatch(text) is not None


def _key(id: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(id.encode()).digest()).decode()
