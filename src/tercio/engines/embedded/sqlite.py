"""The store in SQLite's write-ahead log: where LMDB's lock is not released by a death (macOS).

All locks are the kernel's. Two connections a process: one reads while the other is inside a
transaction, which must not be seen before its end.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from typing import Final

from tercio.engines.embedded import steps
from tercio.engines.embedded.table import R, Step, V
from tercio.errors import StateBusy, StateError, StateFull, StateUnavailable
from tercio.state.verbs import Fill

FILE: Final = "data.sqlite"

_PAGE: Final = 4096
_WAIT: Final = 0.05  # seconds for SQLite's own locks; the one that is contended is ours
_MEASURE_EVERY: Final = 16  # writes
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
        self._reading = threading.Lock()
        self._until_measured = 0
        self._is_full = False
        file = os.path.join(path, FILE)
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._reader, self._writer = self._connect(file, sync), self._connect(file, sync)
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
        with self._reading:
            try:
                self._reader.execute("BEGIN")
                try:
                    return step(SqliteTable(self._reader), verb, now)
                finally:
                    self._reader.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise _translated(error, "the state cannot be read") from error

    def change(self, step: Step[V, R], verb: V, now: float) -> R:
        self._until_measured -= 1
        if (self._until_measured < 0 or self._is_full) and not steps.shrinks(verb):
            self._measure()
            if self._is_full:
                raise StateFull(f"the shared state holds its {self._limit >> 20} MiB")
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

    def fill(self) -> Fill:
        with self._reading:
            try:
                used = self._used(self._reader)
                (keys,) = self._reader.execute("SELECT count(*) FROM t").fetchone()
            except sqlite3.Error as error:
                raise _translated(error, "the state cannot be read") from error
        return Fill(used, self._limit, keys)

    def sync(self) -> None:
        """What is written back into the file is on the disk before and after."""
        with self._reading:
            try:
                self._reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                raise _translated(error, "the state cannot be written to the disk") from error

    def look_for_dead(self) -> None:
        """The kernel has released what they held."""

    def abandon(self) -> None:
        # To close them would let go of locks by its rules, to collect them would, too: kept.
        _abandoned.extend((self._reader, self._writer))

    def close(self) -> None:
        with self._reading:
            self._reader.close()
        self._writer.close()

    def _connect(self, file: str, sync: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            file, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNC[sync]}")
        connection.execute(f"PRAGMA journal_size_limit = {max(self._limit // 4, 1 << 20)}")
        # More than is allowed, so that deleting has room.
        connection.execute(f"PRAGMA max_page_count = {self._limit * 5 // 4 // _PAGE}")
        return connection

    def _measure(self) -> None:
        self._until_measured = _MEASURE_EVERY
        self._is_full = self._used(self._writer) >= self._limit

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
