"""What is the server's own in the verbs; what all engines promise is in `tests/state`."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from tercio.codec import encode
from tercio.engines.embedded import steps
from tercio.engines.redis import commands
from tercio.engines.redis.state import _SPECIAL as special
from tercio.engines.redis.state import RedisState
from tercio.engines.redis.url import Address
from tercio.errors import NoSuchKey, StateFull, WrongType
from tercio.state import verbs
from tercio.state.state import State
from tests.engines.redis.conftest import MakeServer
from tests.engines.redis.valkey import Valkey


@pytest.fixture
async def state(server: Valkey) -> AsyncIterator[RedisState]:
    made = RedisState(Address.parse(server.url))
    yield made
    await made.close()


async def test_every_value_comes_back_as_the_bytes_it_was(state: RedisState) -> None:
    numbers = [0, 1, 127, 128, 255, 256, -1, -32, -33, -128, 1 << 31, (1 << 63) - 1, -(1 << 63)]
    others: list[object] = [(1 << 64) - 1, None, "12", b"12", 1.5, [1], {}]
    values = [encode(value) for value in [*numbers, *others]]
    values += [b"", b"12", b"\xc1", b"\xcc\x01", b"\xd3" + bytes(8), b"\xcf" + b"\xff" * 8]
    for value in values:
        assert await state.run(verbs.Set(b"k", value))
        assert await state.run(verbs.Get(b"k")) == value


async def test_a_stored_number_can_be_counted_on(state: RedisState) -> None:
    await state.run(verbs.Set(b"k", encode(40)))
    assert await state.run(verbs.Incr(b"k", 2)) == 42
    assert await state.run(verbs.Get(b"k")) == encode(42)
    assert await state.run(verbs.CompareAndSet(b"k", encode(42), encode("text")))
    with pytest.raises(WrongType):
        await state.run(verbs.Incr(b"k"))
    await state.run(verbs.Set(b"k", encode((1 << 63) - 1)))
    with pytest.raises(WrongType):
        await state.run(verbs.Incr(b"k"))
    assert await state.run(verbs.Incr(b"large", (1 << 53) + 1, ttl=60)) == (1 << 53) + 1


async def test_an_increment_sets_an_end_only_when_it_makes_the_key(state: RedisState) -> None:
    await state.run(verbs.Incr(b"k", ttl=100))
    await state.run(verbs.Incr(b"k", ttl=900))
    left = await state.run(verbs.Ttl(b"k"))
    assert left is not None
    assert left <= 100
    assert await state.run(verbs.Expire(b"k", None))
    assert await state.run(verbs.Ttl(b"k")) is None
    with pytest.raises(NoSuchKey):
        await state.run(verbs.Ttl(b"none"))


async def test_a_scan_finds_its_prefix_and_nothing_like_it(state: RedisState) -> None:
    for number in range(250):
        await state.run(verbs.Set(b"v:a*[b]?\\:%d" % number, encode(number)))
    await state.run(verbs.Set(b"v:axb?\\:1", encode("no")))
    found: dict[bytes, bytes] = {}
    cursor = None
    while True:
        page = await state.run(verbs.Scan(b"v:a*[b]?\\:", cursor))
        found |= dict(page.items)
        if (cursor := page.cursor) is None:
            break
    assert len(found) == 250
    assert found[b"v:a*[b]?\\:7"] == encode(7)
    assert await state.run(verbs.Clear(b"v:a*[b]?\\:", 100)) == 250
    assert await state.run(verbs.Clear(b"v:a*[b]?\\:", 100)) == 0
    assert await state.run(verbs.Get(b"v:axb?\\:1")) == encode("no")


async def test_a_clear_looks_at_other_keys_once_or_twice_and_not_for_each_bite(
    state: RedisState,
) -> None:
    ours = State(state)
    for number in range(2000):
        await ours.set(f"stays:{number}", number)
        await ours.set(f"goes:{number}", number)
    await state._ask("CONFIG", "RESETSTAT")
    assert await ours.clear("goes:") == 2000
    statistics = (await state._ask("INFO", "commandstats")).decode()
    scans = int(statistics.partition("cmdstat_scan:calls=")[2].partition(",")[0])
    assert scans <= 12, "4,000 keys, a thousand at a time, twice; it was 10 to 200 for each 200"
    assert len([key async for key, _ in ours.scan("stays:")]) == 2000


async def test_what_others_wrote_among_our_keys_is_passed_over(state: RedisState) -> None:
    ours = State(state)
    await ours.set("good", 1)
    await state._ask("SET", "tercio:s:v::foreign", "text")
    await state._ask("SET", b"tercio:s:v::\xff\xfe", b"12")
    await state._ask("RPUSH", "tercio:s:v::list", "text")
    assert [item async for item in ours.scan()] == [("good", 1)]
    for name in ("foreign", "list"):
        with pytest.raises(WrongType):
            await ours.get(name)
        with pytest.raises(WrongType):
            await ours.incr(name)
    assert await ours.clear() == 4


def test_no_verb_is_left_out() -> None:
    every = set(verbs.Verb.__subclasses__())
    assert set(commands._PLANS) | set(special) == every
    # One command each, but seen to: no keys at all, and what nobody is there to take any more.
    assert set(commands._PLANS) & set(special) == {verbs.Delete, verbs.GetMany, verbs.Pop}
    assert set(steps.READS) | set(steps.WRITES) | {verbs.Measure} == every


async def test_a_queue_counts_only_what_has_not_ended(state: RedisState) -> None:
    push = verbs.Push
    assert await state.run(push(b"q", b"long", 3))
    assert await state.run(push(b"q", b"short", 3, ttl=0.05))
    assert await state.run(push(b"q", b"middle", 3, ttl=60))
    while await state.run(verbs.Size(b"q")) != 2:
        await asyncio.sleep(0.01)
    assert await state.run(push(b"q", b"last", 3))
    assert [await state.run(verbs.Pop(b"q")) for _ in range(4)] == [
        *(b"long", b"middle", b"last"),
        None,
    ]


async def test_a_cancelled_pop_loses_nothing(state: RedisState) -> None:
    for number in range(50):
        await state.run(verbs.Push(b"q", b"%d" % number, 1000, ttl=60))
    for turns in range(50):
        task = asyncio.ensure_future(state.run(verbs.Pop(b"q")))
        for _ in range(turns % 5):
            await asyncio.sleep(0)
        if not task.cancel():
            assert task.result() is not None
            await state.run(verbs.PutBack(b"q", task.result() or b""))
        await asyncio.wait({task})
    while await state.run(verbs.Size(b"q")) != 50:
        await asyncio.sleep(0.01)


async def test_tokens_grow_over_a_server_that_forgot_everything(server: Valkey) -> None:
    state = RedisState(Address.parse(server.url))
    first = await state.run(verbs.Acquire(b"l", b"me", 60))
    assert first is not None
    assert await state.run(verbs.Acquire(b"l", b"me", 60)) == first
    assert await state.run(verbs.Acquire(b"l", b"other", 60)) is None
    assert await state.run(verbs.Release(b"l", b"me"))
    second = await state.run(verbs.Acquire(b"l", b"other", 60))
    assert second is not None
    assert second > first
    await state.close()
    server.kill()
    server.start()
    again = RedisState(Address.parse(server.url))
    third = await again.run(verbs.Acquire(b"l", b"me", 60))
    assert third is not None
    assert third > second
    await again.close()


async def test_windows_count_and_say_when_there_is_room(state: RedisState) -> None:
    for verb in (verbs.FixedWindow, verbs.MovingWindow, verbs.SlidingWindow):
        key = verb.__name__.encode()
        answers = [await state.run(verb(key, 3, 3600, 2)) for _ in range(2)]
        assert [(a.allowed, a.hits) for a in answers] == [(True, 2), (False, 2)]
        assert 0 < answers[1].reset_after <= 3600


async def test_members_end_one_by_one(state: RedisState) -> None:
    assert await state.run(verbs.Join(b"g", b"b"))
    assert await state.run(verbs.Join(b"g", b"a", ttl=60))
    assert not await state.run(verbs.Join(b"g", b"a", ttl=0.02))
    while await state.run(verbs.Size(b"g")) != 1:
        await asyncio.sleep(0.01)
    assert await state.run(verbs.Members(b"g")) == [b"b"]
    assert not await state.run(verbs.Leave(b"g", b"a"))
    assert await state.run(verbs.Leave(b"g", b"b"))
    await state.run(verbs.Join(b"g", b"c"))
    with pytest.raises(WrongType):
        await state.run(verbs.Push(b"g", b"x", 1))


async def test_threads_and_loops_share_one_engine(state: RedisState) -> None:
    def count() -> None:
        for _ in range(50):
            state.run_now(verbs.Incr(b"n"))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        await state.run(verbs.Incr(b"n"))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await state.run(verbs.Incr(b"n", 0)) == 250


async def test_a_full_server_says_so_and_still_reads(make_server: MakeServer) -> None:
    server = make_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    state = RedisState(Address.parse(server.url))
    await state.run(verbs.Set(b"kept", encode("here")))
    with pytest.raises(StateFull):
        await _fill(state)
    assert await state.run(verbs.Get(b"kept")) == encode("here")
    fill = await state.run(verbs.Measure())
    assert fill.limit == 3 << 20
    assert fill.used > 1 << 20
    assert await state.run(verbs.Clear(b"")) == fill.keys
    await state.close()


async def _fill(state: RedisState) -> None:
    for number in range(100):
        await state.run(verbs.Set(b"%d" % number, bytes(100_000)))


async def test_two_prefixes_on_one_server_know_nothing_of_each_other(server: Valkey) -> None:
    address = Address.parse(server.url)
    one, two = RedisState(address, prefix="one:"), RedisState(address, prefix="two:")
    await one.run(verbs.Set(b"k", encode(1)))
    await two.run(verbs.Set(b"k", encode(2)))
    assert (await one.run(verbs.Scan(b""))).items == [(b"k", encode(1))]
    assert await two.run(verbs.Clear(b"")) == 1
    assert await one.run(verbs.Get(b"k")) == encode(1)
    await one.close()
    await two.close()


def test_one_engine_serves_loops_one_after_another(server: Valkey) -> None:
    state = RedisState(Address.parse(server.url))
    assert [asyncio.run(state.run(verbs.Incr(b"n"))) for _ in range(3)] == [1, 2, 3]
    assert state.run_now(verbs.Incr(b"n")) == 4
    asyncio.run(state.close())
