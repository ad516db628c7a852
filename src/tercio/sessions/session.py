"""The session of one request, as the application has it: a dict, and a few words more."""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from tercio.errors import SessionNotLoaded
from tercio.sessions.lazydict import LazyDict
from tercio.sessions.record import Changes, Found, Gone, Record, packed, unpacked
from tercio.sessions.store import SessionStore

_log = logging.getLogger("tercio.sessions")


class Told(Enum):
    """What the browser has to be told."""

    NOTHING = "nothing"
    COOKIE = "cookie"
    """The session's id, or that its time began anew."""
    REMOVAL = "removal"


class Session(LazyDict):
    """``request.session``. What is stored in it is what `cluster.state` takes.

    It is read when it is first looked at, and written at the end if something in it is different
    then, also deep inside of a list or a dict.
    """

    def __init__(self, store: SessionStore, id: str | None) -> None:
        super().__init__()
        self.accessed: bool = False
        self._store = store
        self._id = id
        self._is_loaded = id is None
        # Another id is in the place of this one, and this request does not know it.
        self._replaced: str | None = None
        self._ended: str | None = None  # the id that `clear` ends
        self._told = Told.NOTHING  # what the browser has to be told in any case
        self._rotates = False
        self._record: Record | None = None
        self._before: dict[str, msgspec.Raw] = {}
        self._subject: str | None = None

    # For applications

    @property
    def subject(self) -> str | None:
        """Who is logged in, as `login` was told."""
        self._look()
        return self._subject

    @property
    def is_new(self) -> bool:
        """Whether nothing is stored of it yet."""
        self._look()
        return self._id is None

    def login(self, subject: str) -> None:
        """Say whose session it is, and give it another id, so that one which an attacker planted
        in the browser before is worth nothing. What somebody else had stored in it is dropped.

        Raises `TypeError` or `ValueError` for a ``subject`` that is no str, or empty.
        """
        if not isinstance(subject, str):
            raise TypeError(f"login({subject!r:.50}): expected a str, not {type(subject).__name__}")
        if not subject:
            raise ValueError("login(''): expected a name or an id of somebody; `logout()` ends it")
        self._look()
        if self._subject not in (None, subject):
            dict.clear(self)
        self._subject = subject
        self._rotates = True
        self._replaced = None  # who logs in gets a session in any case

    def rotate(self) -> None:
        """Give it another id at the end of this request, as is due when somebody may do more."""
        self._look()
        self._rotates = True

    def clear(self) -> None:
        """End it, for all workers and requests at once: log out. What is stored later in the same
        request begins another one.
        """
        self._look()
        dict.clear(self)
        self._ended = self._ended or self._id or self._replaced
        self._replaced = None
        self._subject = None

    logout = clear

    async def change(self, key: str, change: Callable[[Any], Any], default: object = None) -> Any:
        """Replace a value by what ``change`` makes of it, in one atomic step, at once.

        For what parallel requests of one session count: ``session["n"] += 1`` is two steps.
        Returns the new value; None removes it. ``change`` may be called several times.
        """
        self.accessed = True
        await self.load()
        if (id := self._stored) is None:
            return self._change_here(key, change, default)
        try:
            return self._changed(key, *await self._store.change(id, key, change, default))
        except Gone:
            return change(self.get(key, default))

    async def load(self, *, again: bool = False) -> "Session":
        """Read it, if it was not read. ``again``: what others stored since, which drops what was
        changed here and not saved; for a WebSocket that lasts.
        """
        if again and self._id is not None:
            self._is_loaded = False
        if not self._is_loaded:
            assert self._id is not None
            self._take(await self._store.look(self._id))
        return self

    async def save(self) -> Told:
        """Store what was changed. The middleware does it; call it in what lasts longer than that.

        The answer is what a cookie has to say.
        """
        if not self._is_loaded:
            return Told.NOTHING
        if self._ended is not None:
            await self._end(self._ended)
        if self._replaced is not None:
            return Told.NOTHING  # the browser has the other one's cookie, or is about to get it
        changes = self._changes()
        if self._id is None:
            if self or self._subject is not None:
                self._id = await self._store.create(changes, self._subject)
                self._told = Told.COOKIE
        elif self._rotates:
            await self._move(self._id, changes)
        elif changes or self._wants_renewal():
            try:
                self._keep(await self._store.save(self._id, changes))
            except Gone:
                self._drop()
        self._rotates = False
        self._remember()
        told, self._told = self._told, Told.NOTHING
        return told

    def __repr__(self) -> str:
        return f"<Session {super().__repr__()}>" if self._is_loaded else "<Session, not read yet>"

    # For the middleware

    def mark_accessed(self) -> None:
        """Somebody looks at it. Starlette calls it, too."""
        self._look()

    @property
    def id(self) -> str | None:
        """What the cookie says: a secret of this browser's."""
        return self._id

    @property
    def left(self) -> float:
        """Seconds that the cookie may stay, counted from now."""
        return self._store.left_of(self._record)

    @property
    def is_changed(self) -> bool:
        """Whether there is something to store."""
        if not self._is_loaded or self._replaced is not None:
            return False
        return self._ended is not None or self._rotates or bool(self._changes())

    @property
    def is_due(self) -> bool:
        """Whether `save` has something to do, also if that is only to begin its idle time anew."""
        return self.is_changed or self._told is not Told.NOTHING or self._wants_renewal()

    # Parts

    def _look(self) -> None:
        self.accessed = True
        if self._is_loaded:
            return
        assert self._id is not None
        if not self._store.is_near:
            raise SessionNotLoaded(
                "the session is on a server and was not read yet: `await request.session.load()` "
                'first, or leave it to SessionMiddleware(load="auto")'
            )
        self._take(self._store.look_now(self._id))

    def _take(self, record: Record | None) -> None:
        self._is_loaded = True
        found = self._store.judged(record)
        dict.clear(self)
        if found is None:
            # An id that we do not know is not adopted: whoever chose it would know it.
            self._replaced = self._id if record is not None and record.is_rotated else None
            self._id, self._record, self._before, self._subject = None, None, {}, None
            return
        self._record, self._subject = found.record, found.record.subject
        dict.update(self, unpacked(found.record.values))
        self._before = dict(found.record.values)

    def _changes(self) -> Changes:
        now = {key: packed(value) for key, value in dict.items(self)}
        stored = {key: each for key, each in now.items() if self._before.get(key) != each}
        return Changes(stored, frozenset(self._before) - frozenset(now))

    def _wants_renewal(self) -> bool:
        return self._record is not None and self._store.wants_renewal(self._record)

    @property
    def _stored(self) -> str | None:
        """The id under which something is stored that this request may still change."""
        return self._id if self._ended is None else None

    def _change_here(self, key: str, change: Callable[[Any], Any], default: object) -> Any:
        new = change(self.get(key, default))
        if new is None:
            self.pop(key, None)
        else:
            self[key] = new
        return new

    def _changed(self, key: str, new: Any, found: Found | None) -> Any:
        """What `SessionStore.change` did; the new value."""
        self._before.pop(key, None)
        if new is None:
            dict.pop(self, key, None)
        else:
            self._before[key] = packed(new)
            dict.__setitem__(self, key, new)
        self._keep(found)
        return new

    def _keep(self, found: Found | None) -> None:
        """What is stored now; None: nothing was left in it, so it is gone."""
        if found is None:
            self._id, self._record, self._told = None, None, Told.REMOVAL
            self._before = {}
        elif found.is_renewed:
            self._record, self._told = found.record, Told.COOKIE

    async def _end(self, ended: str) -> None:
        """Another one begins if something was stored since; who is under way with the id of this
        one must not begin a third.
        """
        self._ended, self._rotates = None, False
        self._id, self._record, self._before = None, None, {}
        if self or self._subject is not None:
            self._id = await self._store.replace(ended, self._changes(), self._subject)
            self._told = Told.COOKIE
            self._remember()
        else:
            await self._store.revoke(ended)
            self._told = Told.REMOVAL

    async def _move(self, id: str, changes: Changes) -> None:
        try:
            self._id = await self._store.rotate(id, changes, self._subject)
        except Gone:
            if self._record is not None and self._subject == self._record.subject:
                self._drop()
                return
            # Revoked, or moved by another request; but this one has just logged somebody in.
            self._before, self._record = {}, None
            self._id = await self._store.create(self._changes(), self._subject)
        self._told = Told.COOKIE

    def _drop(self) -> None:
        """It was revoked, or got another id, by another request: what this one did to it is void.

        The browser is told nothing: it may have the cookie of the next one already.
        """
        _log.debug("a session was revoked while a request changed it; the changes are dropped")
        dict.clear(self)
        self._id, self._record, self._before, self._subject = None, None, {}, None

    def _remember(self) -> None:
        """What is stored now is what later changes are compared with."""
        self._before = {key: packed(value) for key, value in dict.items(self)}
