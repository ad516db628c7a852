"""The store in SQLite's write-ahead log: where LMDB's lock is not released by a death (macOS).

All locks are the kernel's. One connection of a process writes; each reader has one of its own as
long as it reads, so that the loop waits neither for a thread that reads very much, nor for one that
waits for the disk.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tercio.engines.embedded import steps
from tercio.engines.embedded.table import R, Step, V
from tercio.errors import StateBusy, StateError, StateFull, StateUnavailable
from tercio.state.verbs import Fill

FILE: Final = "data.sqlite"

_PAGE: Final = 4096
_WAIT: Final = 0.05  # seconds for SQLite's own locks; the one that is contended is ours
_MEASURE_EVERY: Final = 16  # writes
_MOST_IDLE: Final = 4  # readers that are kept
_SCARCE: Final = 8 << 20  # bytes that are free in the file system: twice the log
_PUT: Final = "INSERT INTO t VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"
_SYNC: Final = {"none": "OFF", "interval": "NORMAL", "always": "FULL"}


_abandoned: list[sqlite3.Connection] = []
"""Connections of the parent in its forks, never to be closed there."""


class SqliteTable:
    """One transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: bytes, /) -> bytes | None:
        row = self._connection.execute("SELECT v FROM t WHERE k = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(self, key: bytes, value: bytes, /) -> object:
        return self._connection.execute(_PUT, (key, value))

    def delete(self, key: bytes, /) -> object:
        return self._connection.execute("DELETE FROM t WHERE k = ?", (key,))

    def after(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._connection.execute("SELECT k, v FROM t WHERE k >= ? ORDER BY k", (start,))
        try:
            yield from cursor
        finally:
            cursor.close()  # an open one would keep the log from being taken back


class SqliteStore:
    """See `table.Store`."""

    def __init__(self, path: str, size: int, sync: str = "none") -> None:
        """Raises `StateUnavailable` or `StateFull`."""
        self._limit = size
        self._sync = sync
        self._until_measured = 0
        self._is_full = False
        self._is_closed = False
        self._file = file = os.path.join(path, FILE)
        self._open: list[sqlite3.Connection] = []
        self._idle: list[sqlite3.Connection] = []  # to take one and to put it back is one step each
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = self._connect()
            self._writer.execute(
                # With row ids: without, what is longer than a quarter of a page takes one alone.
                "CREATE TABLE IF NOT EXISTS t (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL)"
            )
        except OSError as error:
            raise StateUnavailable(
                f"the state in {path} cannot be opened: {error.strerror}"
            ) from error
        except sqlite3.Error as error:
            raise _translated(error, f"the state in {path} cannot be opened") from error

    def look(self, step: Step[V, R], verb: V, now: float) -> R:
        with self._reader("the state cannot be read") as reader:
            reader.execute("BEGIN")
            try:
                return step(SqliteTable(reader), verb, now)
            finally:
                reader.execute("ROLLBACK")

    def change(self, step: Step[V, R], verb: V, now: float) -> R:
        self._until_measured -= 1
        if (self._until_measured < 0 or self._is_full) and not steps.shrinks(verb):
            try:
                self._measure()
            except sqlite3.Error as error:
                raise _translated(error, "the state cannot be measured") from error
            if self._is_full:
                raise StateFull(f"the shared state holds its {self._limit >> 20} MiB")
        try:
            return self._carry_out(step, verb, now)
        except StateFull:
            # The log may be what fills the file system, and is taken back by commits alone.
            if not self._shorten_log():
                raise
        return self._carry_out(step, verb, now)

    def fill(self) -> Fill:
        with self._reader("the state cannot be read") as reader:
            used = self._used(reader)
            (keys,) = reader.execute("SELECT count(*) FROM t").fetchone()
        return Fill(used, self._limit, keys)

    def sync(self) -> None:
        """What is written back into the file is on the disk before and after."""
        with self._reader("the state cannot be written to the disk") as reader:
            reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def look_for_dead(self) -> None:
        """The kernel has released what they held."""

    def abandon(self) -> None:
        # To close them would let go of locks by its rules, to collect them would, too: kept.
        _abandoned.extend(self._open)

    def close(self) -> None:
        self._is_closed = True  # first: who reads at this moment closes its own
        while self._idle:
            self._idle.pop().close()
        self._writer.close()

    @contextmanager
    def _reader(self, what: str) -> Iterator[sqlite3.Connection]:
        try:
            try:
                reader = self._idle.pop()
            except IndexError:
                reader = self._connect()
            try:
                yield reader
            finally:
                if self._is_closed or len(self._idle) >= _MOST_IDLE:
                    self._open.remove(reader)
                    reader.close()
                else:
                    self._idle.append(reader)
        except sqlite3.Error as error:
            raise _translated(error, what) from error

    def _connect(self) -> sqlite3.Connection:
        if self._is_closed:
            raise StateUnavailable("the state was closed")
        connection = sqlite3.connect(
            self._file, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )
        self._open.append(connection)
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNC[self._sync]}")
        connection.execute(f"PRAGMA journal_size_limit = {max(self._limit // 4, 1 << 20)}")
        pages = self._limit // 8 // _PAGE  # of the log that a commit takes back
        connection.execute(f"PRAGMA wal_autocheckpoint = {min(1000, max(100, pages))}")
        # More than is allowed, so that deleting has room.
        connection.execute(f"PRAGMA max_page_count = {self._limit * 5 // 4 // _PAGE}")
        return connection

    def _carry_out(self, step: Step[V, R], verb: V, now: float) -> R:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                answer = step(SqliteTable(self._writer), verb, now)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _translated(error, "the state cannot be written") from error
        return answer

    def _shorten_log(self) -> bool:
        """Whether that made room, perhaps."""
        try:
            row = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return not row[0]  # else others read it just now

    def _measure(self) -> None:
        self._until_measured = _MEASURE_EVERY
        self._is_full = self._used(self._writer) >= self._limit
        found = os.statvfs(self._file)
        if found.f_bavail * found.f_frsize < _SCARCE:
            # The log would take what room there is, and could not be taken back for want of it.
            with suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @staticmethod
    def _used(connection: sqlite3.Connection) -> int:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * _PAGE


def _translated(error: sqlite3.Error, what: str) -> StateError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        # A full file system shows as either.
        return StateFull(f"{what}: {error}; see --state-size, and the room on the file system")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StateBusy(f"{what}: {error}")
    return StateUnavailable(f"{what}: {error}")
