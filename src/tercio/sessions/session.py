"""The session of one request, as the application has it: a dict, and a few words more."""

import logging
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from enum import Enum
from typing import Any, Self

import msgspec

from tercio.errors import SessionNotLoaded
from tercio.sessions.record import Changes, Record, packed, unpacked
from tercio.sessions.store import Gone, SessionStore

_log = logging.getLogger("tercio.sessions")


class Told(Enum):
    """What the browser has to be told."""

    NOTHING = "nothing"
    COOKIE = "cookie"
    """The session's id, or that its time began anew."""
    REMOVAL = "removal"


class Session(dict[str, Any]):
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
        self._is_frozen = False  # its id is another one now, which this request does not know
        self._ends = False
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
        in the browser before is worth nothing.
        """
        self._look()
        self._subject = subject
        self._rotates = True

    def rotate(self) -> None:
        """Give it another id at the end of this request, as is due when somebody may do more."""
        self._look()
        self._rotates = True

    def clear(self) -> None:
        """End it, for all workers and requests at once: log out. What is stored later in the same
        request begins another one.
        """
        self._look()
        super().clear()
        self._ends = self._id is not None
        self._subject = None

    logout = clear

    async def change(self, key: str, change: Callable[[Any], Any], default: object = None) -> Any:
        """Replace a value by what ``change`` makes of it, in one atomic step, at once.

        For what parallel requests of one session count: ``session["n"] += 1`` is two steps.
        Returns the new value; None removes it. ``change`` may be called several times.
        """
        await self.load()
        if self._id is None or self._is_frozen or self._ends:
            new = change(self.get(key, default))
        else:
            try:
                new = await self._store.change(self._id, key, change, default)
            except Gone:
                return change(self.get(key, default))
            self._before.pop(key, None)
            if new is not None:
                self._before[key] = packed(new)
        if new is None:
            super().pop(key, None)
        else:
            super().__setitem__(key, new)
        return new

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
        if not self._is_loaded or self._is_frozen:
            return Told.NOTHING
        told = Told.NOTHING
        if self._ends and self._id is not None:
            await self._store.revoke(self._id)
            self._id, self._record, self._before, told = None, None, {}, Told.REMOVAL
        self._ends = False
        changes = self._changes()
        if self._id is None:
            if not self and self._subject is None:
                return told
            self._id = await self._store.create(changes, self._subject)
            told = Told.COOKIE
        elif self._rotates:
            told = await self._move(self._id, changes)
        elif changes or self._wants_renewal():
            try:
                found = await self._store.save(self._id, changes)
            except Gone:
                return self._drop()
            if found is None:
                self._id, told = None, Told.REMOVAL
            elif found.is_renewed:
                self._record, told = found.record, Told.COOKIE
        self._rotates = False
        self._remember()
        return told

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
        if not self._is_loaded or self._is_frozen:
            return False
        return self._ends or self._rotates or bool(self._changes())

    @property
    def is_due(self) -> bool:
        """Whether `save` has something to do: to store, or to begin its idle time anew."""
        return self.is_changed or self._wants_renewal()

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
        super().clear()
        if found is None:
            # An id that we do not know is not adopted: whoever chose it would know it.
            self._is_frozen = record is not None and record.is_rotated
            self._id, self._before = None, {}
            return
        self._record, self._subject = found.record, found.record.subject
        super().update(unpacked(found.record.values))
        self._before = dict(found.record.values)

    def _changes(self) -> Changes:
        now = {key: packed(value) for key, value in super().items()}
        stored = {key: each for key, each in now.items() if self._before.get(key) != each}
        return Changes(stored, frozenset(self._before) - frozenset(now))

    def _wants_renewal(self) -> bool:
        return self._record is not None and self._store.wants_renewal(self._record)

    async def _move(self, id: str, changes: Changes) -> Told:
        try:
            self._id = await self._store.rotate(id, changes, self._subject)
        except Gone:
            if self._record is not None and self._subject == self._record.subject:
                return self._drop()
            # Revoked, or moved by another request; but this one has just logged somebody in.
            self._before, self._record = {}, None
            self._id = await self._store.create(self._changes(), self._subject)
        return Told.COOKIE

    def _drop(self) -> Told:
        """It was revoked by another request: what this one did to it is void."""
        _log.debug("a session was revoked while a request changed it; the changes are dropped")
        super().clear()
        self._id, self._before, self._subject, self._rotates = None, {}, None, False
        return Told.REMOVAL

    def _remember(self) -> None:
        """What is stored now is what later changes are compared with."""
        self._before = {key: packed(value) for key, value in super().items()}

    # A dict that is read when it is first looked at

    def __getitem__(self, key: str) -> Any:
        self._look()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._look()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._look()
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        self._look()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._look()
        return super().__iter__()

    def __len__(self) -> int:
        self._look()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._look()
        return super().__eq__(other)

    __hash__ = None  # as of any dict

    def __repr__(self) -> str:
        return f"<Session {super().__repr__()}>" if self._is_loaded else "<Session, not read yet>"

    def get(self, key: str, default: Any = None) -> Any:
        self._look()
        return super().get(key, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        self._look()
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        self._look()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        self._look()
        return super().items()

    def pop(self, key: str, *default: Any) -> Any:
        self._look()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self._look()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._look()
        return super().setdefault(key, default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._look()
        super().update(*args, **kwargs)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        self._look()
        return dict(super().items())
