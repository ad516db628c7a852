"""Any verbs in any order mean the same on every embedded engine as in a few dictionaries."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tercio import codec
from tercio.engines.embedded.memory import MemoryStore
from tercio.engines.embedded.records import MAIN, PARTS, TIME, TIMES
from tercio.engines.embedded.steps import READS, WRITES
from tercio.engines.embedded.table import Store, Table
from tercio.errors import TercioError
from tercio.state.verbs import (
    Acquire,
    Clear,
    CompareAndSet,
    Delete,
    Expire,
    Get,
    GetMany,
    Incr,
    Join,
    Leave,
    Members,
    MovingWindow,
    Pop,
    Push,
    PutBack,
    Release,
    Renew,
    Scan,
    Set,
    Size,
    Sweep,
    Ttl,
    Verb,
)  # fmt: skip
from tests.state.model import Model

KEYS = st.sampled_from([b"v::a", b"v::ab", b"v::b"])
TTLS = st.sampled_from([None, 1.0, 2.5, 4.0, 30.0])
SOME = st.sampled_from([1.0, 2.5, 4.0])
VALUES = st.sampled_from([codec.encode(value) for value in (0, 7, "x", None, (1 << 63) - 1)])
LOCKS, OWNERS = st.sampled_from([b"l::a", b"l::b"]), st.sampled_from([b"ann", b"bob"])
QUEUES, ITEMS = st.sampled_from([b"q::a", b"q::b"]), st.sampled_from([b"1", b"2", b"3"])
GROUPS, MEMBERS = st.sampled_from([b"g::a"]), st.sampled_from([b"m", b"n", b"o" * 400])
ANY = st.sampled_from([b"v::a", b"v::b", b"l::a", b"q::a", b"g::a"])

VERBS: st.SearchStrategy[Any] = st.one_of(
    st.builds(Get, KEYS),
    st.builds(GetMany, st.lists(KEYS, max_size=3).map(tuple)),
    st.builds(Set, KEYS, VALUES, TTLS, st.booleans()),
    st.builds(Incr, KEYS, st.sampled_from([1, -3, 1 << 62]), TTLS),
    st.builds(Expire, KEYS, TTLS),
    st.builds(Ttl, KEYS),
    st.builds(CompareAndSet, KEYS, st.none() | VALUES, st.none() | VALUES, TTLS),
    st.builds(Delete, st.lists(ANY, max_size=3).map(tuple)),
    st.builds(Scan, st.sampled_from([b"v::", b"v::a", b"v::ab"])),
    st.builds(Acquire, LOCKS, OWNERS, SOME),
    st.builds(Renew, LOCKS, OWNERS, SOME),
    st.builds(Release, LOCKS, OWNERS),
    st.builds(MovingWindow, st.just(b"wm::a"), st.just(3), st.just(4.0), st.integers(0, 2)),
    st.builds(Push, QUEUES, ITEMS, st.just(3), TTLS),
    st.builds(Pop, QUEUES),
    st.builds(PutBack, QUEUES, ITEMS, TTLS),
    st.builds(Join, GROUPS, MEMBERS, TTLS),
    st.builds(Leave, GROUPS, MEMBERS),
    st.builds(Members, GROUPS),
    st.builds(Size, st.one_of(QUEUES, GROUPS)),
    st.builds(Sweep, st.sampled_from([1, 3, 100])),
)
STORY = st.lists(st.tuples(VERBS, st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0])), max_size=60)


@pytest.mark.parametrize("kind", ["memory", "lmdb", "sqlite"])
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=STORY)
def test_verbs_mean_what_they_say(kind: str, story: list[tuple[Verb[Any], float]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = opened(kind, Path(directory))
        try:
            play(store, story)
        finally:
            store.close()


def opened(kind: str, directory: Path) -> Store:
    from tercio.engines.embedded.lmdb import LmdbStore
    from tercio.engines.embedded.sqlite import SqliteStore

    match kind:
        case "lmdb":
            return LmdbStore(str(directory), 1 << 20)
        case "sqlite":
            return SqliteStore(str(directory), 1 << 20)
        case _:
            return MemoryStore()


def play(store: Store, story: list[tuple[Verb[Any], float]]) -> None:
    model, now, tokens = Model(), 1000.0, dict[Any, object]()
    for verb, later in story:
        now += later
        answer = run(store, verb, now)
        expected = model.run(verb, now) if not isinstance(verb, Sweep) else answer
        if isinstance(verb, Acquire) and answer is not None:
            # Other numbers than the model's, in the same order.
            assert expected is not None, verb
            assert answer in tokens or answer > max(tokens, default=0)  # type: ignore[operator]
            assert tokens.setdefault(answer, expected) == expected
        else:
            assert answer == expected, verb
    # Whatever there was: when all of it has ended or is cleared, nothing is left but a number.
    now += 1000.0
    while run(store, Clear(b"", 2), now) == 2:
        pass
    while run(store, Sweep(2), now) == 2:
        pass
    assert store.look(kept, None, now) == []


def run(store: Store, verb: Verb[Any], now: float) -> object:
    try:
        if (step := READS.get(type(verb))) is not None:
            return store.look(step, verb, now)
        return store.change(WRITES[type(verb)], verb, now)
    except TercioError as error:
        return type(error)


def kept(table: Table, verb: object, now: float) -> list[bytes]:
    """Records, parts and entries of the index. Each entry of the index has its record."""
    found = [key for key, _ in table.after(b"") if key[:1] in (MAIN, PARTS, TIMES, b"g")]
    for key in found:
        if key.startswith(TIMES):
            assert table.get(MAIN + key[1 + TIME.size :]) is not None
    return found
