"""The store in a dict, for one process: what `local` keeps its state in, and the tests' measure."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from tercio.engines.embedded.table import R, Step, V
from tercio.state.verbs import Fill


class MemoryTable:
    """Keys in order, and what undoes the step under way."""

    __slots__ = ("_keys", "_values", "get", "undo")

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self.undo: list[tuple[bytes, bytes | None]] = []
        self.get = self._values.get

    def put(self, key: bytes, value: bytes, /) -> object:
        old = self._values.get(key)
        self.undo.append((key, old))
        if old is None:
            insort(self._keys, key)
        self._values[key] = value
        return None

    def delete(self, key: bytes, /) -> object:
        old = self._values.pop(key, None)
        if old is not None:
            self.undo.append((key, old))
            del self._keys[bisect_left(self._keys, key)]
        return None

    def after(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        for index in range(bisect_left(self._keys, start), len(self._keys)):
            key = self._keys[index]
            yield key, self._values[key]

    def roll_back(self) -> None:
        """Undo the step under way."""
        steps, self.undo = self.undo[::-1], []
        for key, old in steps:
            if old is None:
                self.delete(key)
            else:
                self.put(key, old)
        self.undo.clear()

    def __len__(self) -> int:
        return len(self._values)


class MemoryStore:
    """See `table.Store`."""

    def __init__(self) -> None:
        self._table = MemoryTable()

    def look(self, step: Step[V, R], verb: V, now: float) -> R:
        return step(self._table, verb, now)

    def change(self, step: Step[V, R], verb: V, now: float) -> R:
        try:
            return step(self._table, verb, now)
        except BaseException:
            self._table.roll_back()
            raise
        finally:
            self._table.undo.clear()

    def fill(self) -> Fill:
        used = sum(len(key) + len(value) for key, value in self._table.after(b""))
        return Fill(used, 0, len(self._table))

    def sync(self) -> None:
        """There is no disk."""

    def look_for_dead(self) -> None:
        """There are no others."""

    def close(self) -> None:
        """It goes with the process."""

    def abandon(self) -> None:
        """The copy goes with the fork."""
