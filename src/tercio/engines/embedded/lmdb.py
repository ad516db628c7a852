"""The store in LMDB: readers never wait, and the lock of a writer that died is taken over.

One environment a process and directory, opened after the process was started: LMDB is not to be
used across a fork.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, cast

import lmdb

from tercio.engines.embedded import steps
from tercio.engines.embedded.table import R, Step, V
from tercio.errors import StateBusy, StateError, StateFull, StateUnavailable
from tercio.state.verbs import Fill

READERS: Final = 1024
"""Slots for reading threads of all processes; LMDB's default of 126 is soon used up."""

_MEASURE_EVERY: Final = 16  # writes; it takes half a microsecond
_LARGE: Final = 64 << 10  # bytes of a value before which it is measured
_RESERVE: Final = 8 << 20
_FULL: Final = 1 << 20  # bytes that are free in a file system which nobody calls anything else


class LmdbTable:
    """One transaction."""

    __slots__ = ("_txn", "delete", "get", "put")

    def __init__(self, txn: lmdb.Transaction) -> None:
        self._txn = txn
        self.get = cast("Callable[[bytes], bytes | None]", txn.get)
        self.put: Callable[[bytes, bytes], object] = txn.put
        self.delete: Callable[[bytes], object] = txn.delete

    def after(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._txn.cursor()
        if cursor.set_range(start):
            yield from cast("Iterator[tuple[bytes, bytes]]", cursor.iternext())


class LmdbStore:
    """See `table.Store`. ``size`` is the most that its pages may hold.

    The map is larger than that by a reserve: LMDB copies what it changes, so that even to delete
    takes room, and in a full map nothing could be deleted.
    """

    def __init__(self, path: str, size: int, *, always_sync: bool = False) -> None:
        """Raises `StateUnavailable` or `StateFull`."""
        self._limit = size
        self._until_measured = 0
        self._is_full = False
        self._synced = 0  # the last transaction that is on the disk, as far as we know
        try:
            self._env = lmdb.open(
                path,
                map_size=size + max(size // 4, _RESERVE),
                max_readers=READERS,
                max_spare_txns=8,
                sync=always_sync,
                metasync=always_sync,
                readahead=False,
                mode=0o600,
            )
            self._env.reader_check()
        except lmdb.Error as error:
            raise _translated(error, f"the state in {path} cannot be opened") from error

    def look(self, step: Step[V, R], verb: V, now: float) -> R:
        try:
            txn = self._env.begin()
        except lmdb.Error as error:
            raise _translated(error, "the state cannot be read") from error
        try:
            return step(LmdbTable(txn), verb, now)
        except lmdb.Error as error:
            raise _translated(error, "the state cannot be read") from error
        finally:
            txn.abort()

    def change(self, step: Step[V, R], verb: V, now: float) -> R:
        self._until_measured -= 1
        if self._until_measured < 0 or steps.size_of(verb) > _LARGE:
            self._measure()
        if self._is_full and not steps.shrinks(verb):
            self._measure()  # there may be room by now
            if self._is_full:
                raise _full(self._limit)
        try:
            txn = self._env.begin(write=True)
            try:
                answer = step(LmdbTable(txn), verb, now)
                txn.commit()
            except BaseException:
                txn.abort()  # nothing, after a commit that failed
                raise
        except lmdb.Error as error:
            if os.strerror(errno.EIO) in str(error) and _is_full(self._env.path()):
                # LMDB's name for a write that was cut short.
                raise StateFull("the state cannot be written: the file system is full") from error
            raise _translated(error, "the state cannot be written") from error
        return answer

    def fill(self) -> Fill:
        # Entries of the index and parts of queues lie beside the keys: about, not exactly.
        return Fill(_used(self._env), self._limit, self._env.stat()["entries"])

    def sync(self) -> None:
        try:
            last = self._env.info()["last_txnid"]
            if last != self._synced:
                self._env.sync(True)
                self._synced = last
        except lmdb.Error as error:
            raise _translated(error, "the state cannot be written to the disk") from error

    def look_for_dead(self) -> None:
        with suppress(lmdb.Error):  # the next look comes in a minute
            self._env.reader_check()

    def close(self) -> None:
        self._env.close()

    def abandon(self) -> None:
        # It frees this process' copies. Of what is shared it clears only what has our own process
        # number (mdb_env_close0 asks getpid()), so the parent's slots and locks stay.
        self._env.close()

    def _measure(self) -> None:
        self._until_measured = _MEASURE_EVERY
        self._is_full = _used(self._env) >= self._limit


def _used(env: lmdb.Environment) -> int:
    stat = env.stat()
    pages = stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]
    return pages * stat["psize"]


def _is_full(path: str) -> bool:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize < _FULL


def _full(limit: int) -> StateFull:
    return StateFull(
        f"the shared state holds its {limit >> 20} MiB; delete or let expire, or give it more "
        "with --state-size"
    )


def _translated(error: lmdb.Error, what: str) -> StateError:
    if isinstance(error, lmdb.MapFullError):
        return StateFull(f"{what}: it has no room left; see --state-size")
    if isinstance(error, lmdb.ReadersFullError):
        return StateBusy(f"{what}: {READERS} threads read it at this moment")
    text = str(error)
    if any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT)):
        return StateFull(f"{what}: the file system is full")
    return StateUnavailable(f"{what}: {text}")
