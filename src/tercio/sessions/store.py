"""Sessions in the shared state: opaque ids, two ends of life, and no way back for a revoked one.

The state knows hashes of ids only, so that who reads it cannot take a session over.
"""

import base64
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tercio import cluster
from tercio.errors import ConfigError, WrongType
from tercio.sessions.record import (
    NONE,
    Changes,
    Found,
    Gone,
    Lifetime,
    Record,
    Replacement,
    Step,
)
from tercio.state.group import Group
from tercio.state.state import State

_log = logging.getLogger("tercio.sessions")

DAY: Final = 86400.0
_NAMESPACE: Final = ".sessions"
_ID_BYTES: Final = 32  # OWASP asks for 64 bits of chance at least; these are 256
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{0,80}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MOVED_FOR: Final = 60.0
"""Seconds for requests that were under way with the id before: they must not begin another session
and overwrite the new cookie."""


class SessionStore:
    """Sessions by id, for all processes of the cluster."""

    def __init__(
        self,
        state: State | None = None,
        *,
        idle: float = 14 * DAY,
        max_age: float = 30 * DAY,
        name: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A session ends after ``idle`` seconds without a request, and ``max_age`` seconds after it
        began. ``state`` is `cluster.state` unless another one is given. Stores of another ``name``
        share no session. ``clock`` gives seconds since 1970. Raises `ConfigError` for what is no
        time, or no name.
        """
        if not (0 < idle < float("inf") and 0 < max_age < float("inf")):
            raise ConfigError(f"sessions: idle={idle}, max_age={max_age}: expected seconds above 0")
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"sessions: name={name!r:.50}: expected up to 80 letters, digits, - or _"
            )
        self.lifetime: Final = Lifetime(idle, max_age)
        self._namespace = f"{_NAMESPACE}.{name}" if name else _NAMESPACE
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
        return await self._read(_key(id))

    def look_now(self, id: str) -> Record | None:
        """The same where `is_near`, without giving way to other tasks."""
        try:
            return self._state.get_near(_key(id), type=Record)
        except WrongType as error:
            _complain(error)
            return None

    def judged(self, record: Record | None) -> Found | None:
        """None if it is over, or another one is in its place."""
        return self.lifetime.judged(record, self._clock())

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
        return await self._take(id, self._step(lambda record: changes.on(record.values)))

    async def change(
        self, id: str, key: str, change: Callable[[Any], Any], default: object = None
    ) -> tuple[Any, Found | None]:
        """Replace one value by what ``change`` makes of it, and return that; None removes it. And
        what the session is after it, as of `save`.

        It is called again when somebody was faster, so it does nothing else. Raises `Gone`.
        """
        replacement = Replacement(key, change, default)
        found = await self._take(id, self._step(replacement))
        return replacement.new, found

    def change_now(
        self, id: str, key: str, change: Callable[[Any], Any], default: object = None
    ) -> tuple[Any, Found | None]:
        """The same in a thread, which calls ``change``; also in one that has an event loop."""
        replacement = Replacement(key, change, default)
        step = self._step(replacement)
        sync = self._state.sync.holding_loops()
        stored = sync.update(_key(id), step, None, ttl=self._longest, type=Record)
        return replacement.new, step.found(stored)

    async def replace(self, id: str, changes: Changes, subject: str | None = None) -> str:
        """Begin another session, with nothing of this one, which is over. Returns its id.

        Requests under way with the id before know that it is not to be used any more.
        """
        new_id = await self.create(changes, subject)
        try:
            await self._bury(id, new_id)
        except Gone:
            await self.revoke(id)  # it may have another id now
        return new_id

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
        try:
            latest = await self._bury(id, new_id)
            if latest.values != old.values:  # by another request, since we looked
                wanted = changes.on(latest.values)
                await self.save(new_id, Changes(wanted, frozenset(values) - frozenset(wanted)))
        except Gone:  # it was revoked meanwhile: so is its successor
            await self.revoke(new_id)
            raise
        return new_id

    async def revoke(self, id: str) -> bool:
        """End a session, for all workers at once, also if it has another id now. The answer:
        whether there was one.
        """
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
            self._kept = given, given.namespace(self._namespace)
        return self._kept[1]

    async def _begin(self, record: Record) -> str:
        id = secrets.token_urlsafe(_ID_BYTES)
        key, left = _key(id), self.lifetime.left(record, self._clock())
        if left <= 0:
            raise Gone
        if record.subject is None:
            await self._state.set(key, record, ttl=left, nx=True)
            return id
        # Listed first: whoever sees it can revoke it.
        group = self._sessions_of(record.subject)
        await group.add(key)
        try:
            await self._state.set(key, record, ttl=left, nx=True)
        except BaseException:
            await group.discard(key)
            raise
        return id

    async def _bury(self, id: str, new_id: str) -> Record:
        """Put another one in its place; what was there. Raises `Gone`."""
        now, latest = self._clock(), None

        def bury(record: Record | None) -> Record:
            nonlocal latest
            if record is None or self.lifetime.judged(record, now) is None:
                raise Gone
            latest = record
            return Record({}, now, now, successor=_key(new_id))

        await self._state.update(_key(id), bury, None, ttl=_MOVED_FOR, type=Record)
        assert latest is not None
        if latest.subject is not None:
            await self._sessions_of(latest.subject).discard(_key(id))
        return latest

    def _step(self, change: Callable[[Record], dict[str, msgspec.Raw]]) -> Step:
        return Step(self.lifetime, self._clock(), change)

    async def _take(self, id: str, step: Step) -> Found | None:
        stored = await self._state.update(_key(id), step, None, ttl=self._longest, type=Record)
        return step.found(stored)

    @property
    def _longest(self) -> float:
        """Seconds that a record can have: what is left of it is looked at when it is read."""
        return min(self.lifetime.idle, self.lifetime.absolute)

    async def _remove(self, key: str) -> bool:
        """It, and what is in its place. Whether there was a session."""
        was_there = False
        following: str | None = key
        while following is not None:
            key, record = following, await self._read(following)
            following = None if record is None else record.successor
            if following is not None:
                continue  # what is left of it ends by itself
            if record is not None and record.subject is not None:
                await self._sessions_of(record.subject).discard(key)
            was_there = await self._state.delete(key) > 0
        return was_there

    async def _read(self, key: str) -> Record | None:
        try:
            return await self._state.get(key, type=Record)
        except WrongType as error:
            _complain(error)
            return None

    def _sessions_of(self, subject: str) -> Group:
        return self._state.group(f"of:{_key(subject)}", ttl=self.lifetime.absolute)


def _complain(error: WrongType) -> None:
    """Of what nobody can read: it counts as none, and the browser begins another."""
    _log.warning("a session is as good as none: %s", error)


def is_id(text: str) -> bool:
    """Whether it could be an id of ours; whatever else comes in a cookie is not looked up."""
    return _ID.fullmatch(text) is not None


def _key(id: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(id.encode()).digest()).decode()
