"""The moving window, which keeps every hit: exact over many of them, and as quick as over few."""

import math
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tercio.engines.embedded.memory import MemoryTable
from tercio.engines.embedded.moving import CHUNK, moving
from tercio.engines.embedded.table import Store
from tercio.state.verbs import Clear, Delete, MovingWindow, Sweep, Verb, Window
from tests.state.model import Model
from tests.state.test_model import kept, opened, run

KEY = b"wm::ip"
KINDS = ("memory", "lmdb", "sqlite")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as directory:
        made = opened(request.param, Path(directory))
        yield made
        made.close()


def hit(store: Store, limit: int, now: float, period: float = 60.0, cost: int = 1) -> Window:
    answer = run(store, MovingWindow(KEY, limit, period, cost), now)
    assert isinstance(answer, Window)
    return answer


def emptied(store: Store, now: float) -> list[bytes]:
    """What is left after everything that has ended is swept."""
    while run(store, Sweep(7), now) == 7:
        pass
    return store.look(kept, None, now)


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_hits_are_counted_as_in_a_list(store: Store, seed: int) -> None:
    random_, model, now = random.Random(seed), Model(), 1000.0
    for _ in range(2500):
        # Bursts, pauses that nothing outlives, and now and then one that ends half of it.
        now += random_.choice((0.0, 0.0, 0.001, 0.01, 0.05, random_.choice((0.1, 5.0, 20.0))))
        limit, cost = random_.choice((10, 400, 2000)), random_.choice((0, 1, 1, 1, 5))
        verb = MovingWindow(KEY, limit, 60.0, cost)
        assert run(store, verb, now) == model.run(verb, now)
    assert emptied(store, now + 61.0) == []


def test_a_large_cost_is_one_entry(store: Store) -> None:
    assert hit(store, 10**12, 1000.0, cost=10**12 - 1).hits == 10**12 - 1
    assert hit(store, 10**12, 1001.0) == (True, 10**12, 59.0)
    assert not hit(store, 10**12, 1002.0).allowed
    assert hit(store, 10**12, 1060.5) == (True, 2, 0.5)
    assert store.fill().used < 100_000


END: dict[str, Callable[[], Verb[int]]] = {
    "deleted": lambda: Delete((KEY,)),
    "cleared": lambda: Clear(b"wm::", 10),
}


@pytest.mark.parametrize("how", sorted(END))
def test_a_window_that_is_removed_leaves_nothing(store: Store, how: str) -> None:
    for number in range(5 * CHUNK):
        hit(store, 10_000, 1000.0 + number / 100)
    assert run(store, END[how](), 1010.0) == 1
    assert hit(store, 10_000, 1010.0).hits == 1
    assert run(store, END[how](), 1010.0) == 1
    assert emptied(store, 1010.0) == []


def test_a_window_that_begins_again_leaves_the_old_hits_to_the_sweep(store: Store) -> None:
    for number in range(5 * CHUNK):
        hit(store, 10_000, 1000.0 + number / 100)
    assert hit(store, 10_000, 2000.0) == (True, 1, 60.0)
    emptied(store, 2000.0)
    assert store.look(kept, None, 0.0)[:1] == [b"k" + KEY]
    assert len(store.look(kept, None, 0.0)) == 2  # the record, and its place in the index
    assert emptied(store, 2061.0) == []


def test_a_window_that_fades_gives_its_room_back(store: Store) -> None:
    for number in range(50 * CHUNK):
        hit(store, 10**6, 1000.0 + number / 1000)
    for number in range(50):
        assert hit(store, 10**6, 1063.0 + number / 100).hits <= 250
    assert len(store.look(kept, None, 0.0)) <= 4


class Metered(MemoryTable):
    """Adds up what is read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        plain = self.get
        self.get = lambda key, default=b"": self._metered(plain(key))  # type: ignore[assignment]

    def put(self, key: bytes, value: bytes, /) -> object:
        self.bytes += len(value)
        return super().put(key, value)

    def _metered(self, value: bytes | None) -> bytes | None:
        self.bytes += len(value or b"")
        return value


def test_a_hit_among_very_many_moves_little() -> None:
    table, now, total = Metered(), 1000.0, 100_000
    for _ in range(total):
        now += 59.0 / total
        moving(table, MovingWindow(KEY, total, 60.0), now)
        table.undo.clear()
    worst = 0
    # It is full soon, then every hit ends another one; at last one ends nearly all of them.
    for later in (*(1.0 / total for _ in range(1000)), 59.5):
        now, table.bytes = now + later, 0
        answer = moving(table, MovingWindow(KEY, total, 60.0), now)
        worst = max(worst, table.bytes)
    assert answer.hits < total // 50
    assert worst < 16 * CHUNK * (8 + 2 * math.log2(total / CHUNK)), "it was a megabyte"
