"""Values on every engine."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tercio.engines.local.state import LocalState
from tercio.errors import LockTaken, NoSuchKey, Unencodable, ValueTooLarge, WrongType
from tercio.state.keys import LIMIT
from tercio.state.state import State
from tests.state.engines import Subject


@dataclass
class Cart:
    owner: str
    items: list[int]


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self  # as Django's safe strings do


class Number(int):
    pass


class Real(float):
    pass


class Body(bytes):
    pass


async def test_what_is_a_kind_of_a_simple_type_is_stored_as_that(state: State) -> None:
    value = {Text("a"): [Text("b"), Number(1), Real(1.5), Body(b"c")]}
    await state.set("key", value)
    found: Any = await state.get("key")
    assert found == value
    assert [type(each) for each in found["a"]] == [str, int, float, bytes]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(1 << 63),
        (1 << 64) - 1,
        1.5,
        "é\0",
        b"\x00\xff",
        [1, [2]],
        {"a": {"b": None}},
    ],
)
async def test_what_is_set_is_got(state: State, value: object) -> None:
    assert await state.set("key", value)
    assert await state.get("key", "default") == value


async def test_a_missing_key_gives_the_default(state: State) -> None:
    assert await state.get("key") is None
    assert await state.get("key", 7) == 7
    assert await state.get("key", 7, type=int) == 7


async def test_a_type_is_built_again_or_refused(state: State) -> None:
    await state.set("cart", Cart("ann", [1, 2]))
    assert await state.get("cart", type=Cart) == Cart("ann", [1, 2])
    assert await state.get("cart") == {"owner": "ann", "items": [1, 2]}
    with pytest.raises(WrongType):
        await state.get("cart", type=int)


async def test_what_cannot_be_encoded_is_refused_at_the_call(state: State) -> None:
    with pytest.raises(Unencodable):
        await state.set("key", object())
    assert await state.get("key") is None


async def test_a_key_has_400_bytes_with_its_namespace(state: State) -> None:
    longest = "é" * ((LIMIT - len("v::")) // 2) + "x" * ((LIMIT - len("v::")) % 2)
    assert await state.set(longest, 1)
    assert await state.get(longest) == 1
    with pytest.raises(ValueTooLarge):
        await state.set(longest + "x", 1)
    with pytest.raises(ValueTooLarge):
        await state.namespace("inner").set(longest, 1)


async def test_a_large_value_comes_back_whole(state: State) -> None:
    value = bytes(range(256)) * (4 << 10)
    assert await state.set("large", value)
    assert await state.get("large", type=bytes) == value


async def test_several_values_are_of_one_moment(state: State) -> None:
    await state.set("a", 1)
    await state.set("c", 3)
    assert await state.mget("a", "b", "c") == [1, None, 3]
    assert await state.mget("a", "c", type=int) == [1, 3]


async def test_nx_stores_only_where_nothing_is(state: State, subject: Subject) -> None:
    assert await state.set("key", 1, nx=True, ttl=0.5)
    assert not await state.set("key", 2, nx=True)
    assert await state.get("key") == 1
    await subject.pass_time(0.6)
    assert await state.set("key", 2, nx=True)


async def test_a_part_of_one_is_not_added(state: State) -> None:
    for wrong in (1.5, 1.0, "1", None):
        with pytest.raises(TypeError, match="by="):
            await state.incr("n", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="by="):
        await asyncio.to_thread(state.sync.incr, "n", 1.5)  # type: ignore[arg-type]
    assert await state.incr("n", True) == 1
    for beyond in (1 << 63, 1 << 70, -(1 << 70)):
        with pytest.raises(WrongType):
            await state.incr("n", beyond)
    assert await state.get("n") == 1


NAMES = ("k*", "k?", "k[a]", "k\\", "k\n", "k\0x", "k]", "k^", "k-", "k", "kx", "K", "", "\u20ac")


async def test_a_name_may_have_any_character_and_means_itself(state: State) -> None:
    spaces = [state, state.namespace("a"), state.namespace("a*"), state.namespace("[a]")]
    for number, space in enumerate(spaces):
        for name in NAMES:
            await space.set(name, number)
    for number, space in enumerate(spaces):
        for prefix in NAMES:
            expected = sorted((name, number) for name in NAMES if name.startswith(prefix))
            assert sorted([item async for item in space.scan(prefix)]) == expected
    assert await spaces[2].clear("k*") == 1
    assert [await space.clear() for space in spaces] == [14, 14, 13, 14]


async def test_nothing_is_a_list_of_keys_too(state: State) -> None:
    assert await state.delete() == 0
    assert await state.mget() == []


async def test_delete_counts_what_was_there(state: State, subject: Subject) -> None:
    await state.set("a", 1)
    await state.set("b", 1, ttl=0.2)
    await subject.pass_time(0.3)
    assert await state.delete("a", "a", "b", "c") == 1
    assert await state.mget("a", "b") == [None, None]


async def test_a_value_lives_as_long_as_its_ttl(state: State, subject: Subject) -> None:
    await state.set("key", 1, ttl=5.0)
    assert 4.0 < (await state.ttl("key") or 0.0) <= 5.0
    assert await state.expire("key", 0.5)
    await subject.pass_time(0.6)
    assert await state.get("key") is None
    assert not await state.expire("key", 1.0)
    with pytest.raises(NoSuchKey):
        await state.ttl("key")


async def test_replacing_a_value_ends_its_ttl_and_counting_keeps_it(
    state: State, subject: Subject
) -> None:
    await state.set("plain", 1, ttl=0.5)
    await state.set("plain", 2)
    assert await state.incr("counted", ttl=0.5) == 1
    assert await state.incr("counted", ttl=60.0) == 2
    await state.set("kept", 1, ttl=0.5)
    assert await state.expire("kept", None)
    assert await state.ttl("kept") is None
    await subject.pass_time(0.6)
    assert await state.mget("plain", "counted", "kept") == [2, None, 1]
    assert await state.incr("counted") == 1


@pytest.mark.parametrize("ttl", [0, -1.0, float("inf"), float("nan")])
async def test_a_ttl_is_some_time(state: State, ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl"):
        await state.set("key", 1, ttl=ttl)


async def test_a_counter_is_a_whole_number_of_64_bits_that_get_sees(state: State) -> None:
    assert await state.incr("n") == 1
    assert await state.incr("n", 41) == 42
    assert await state.incr("n", -50) == -8
    assert await state.get("n", type=int) == -8
    assert await state.compare_and_set("n", -8, (1 << 63) - 2)
    assert await state.incr("n") == (1 << 63) - 1
    with pytest.raises(WrongType):
        await state.incr("n")
    assert await state.get("n") == (1 << 63) - 1


@pytest.mark.parametrize("value", ["1", 1.0, True, None, [1]])
async def test_what_is_no_whole_number_is_not_counted(state: State, value: object) -> None:
    await state.set("n", value)
    with pytest.raises(WrongType):
        await state.incr("n")
    assert await state.get("n", "gone") == value


async def test_compare_and_set_stores_only_over_what_was_expected(
    state: State, subject: Subject
) -> None:
    assert not await state.compare_and_set("key", 1, 2)
    assert await state.compare_and_set("key", None, {"v": 1})
    assert not await state.compare_and_set("key", None, 2)
    assert await state.compare_and_set("key", {"v": 1}, 2, ttl=0.5)
    await subject.pass_time(0.6)
    assert await state.compare_and_set("key", None, 3)
    assert await state.compare_and_set("key", 3, None)
    assert await state.get("key", "gone") == "gone"


async def test_updates_at_the_same_time_all_count(state: State) -> None:
    async def add(name: int) -> None:
        await state.update("names", lambda names: [*names, name], [])

    await asyncio.gather(*(add(name) for name in range(30)))
    assert sorted(await state.get("names", type=list[int]) or []) == list(range(30))


async def test_a_scan_finds_what_begins_with_the_prefix(state: State, subject: Subject) -> None:
    for number in range(250):
        await state.set(f"user:{number:03}", number)
    await state.set("user", -1)
    await state.set("users", -2)
    await state.set("user:gone", -3, ttl=0.2)
    await state.namespace("other").set("user:999", -4)
    await subject.pass_time(0.3)
    found = {name: value async for name, value in state.scan("user:", type=int)}
    assert found == {f"user:{number:03}": number for number in range(250)}


async def test_clear_removes_what_begins_with_the_prefix(state: State) -> None:
    for number in range(450):
        await state.set(f"a:{number}", number)
    await state.set("b", 1)
    await state.queue("a:").put(1)
    assert await state.clear("a:") == 450
    assert [name async for name, _ in state.scan()] == ["b"]
    assert await state.queue("a:").size() == 1


async def test_namespaces_share_no_names(state: State) -> None:
    billing, inner = state.namespace("billing"), state.namespace("billing").namespace("eu")
    await state.set("key", 0)
    await billing.set("key", 1)
    await inner.set("key", 2)
    assert [await each.get("key") for each in (state, billing, inner)] == [0, 1, 2]
    assert await billing.clear() == 1
    assert [await each.get("key") for each in (state, billing, inner)] == [0, None, 2]
    with pytest.raises(ValueError, match="colon"):
        state.namespace("a:b")


async def test_the_twin_for_threads_has_the_same_values(state: State) -> None:
    def in_a_thread() -> list[object]:
        sync = state.sync
        sync.set("a", 1, ttl=60.0)
        sync.incr("a")
        sync.update("a", lambda value: value + 1)
        assert sync.mget("a", "b") == [3, None]
        assert sync.compare_and_set("a", 3, 4)
        assert 0.0 < (sync.ttl("a") or 0.0) <= 60.0 if sync.expire("a", 60.0) else False
        with sync.lock("l", timeout=5.0) as lock:
            assert lock.token > 0
        queue = sync.queue("q", type=int)
        queue.put(5)
        sync.group("g").add("me")
        assert sync.limit("x", 1, 60.0).allowed
        assert dict(sync.scan()) == {"a": 4}
        return [sync.get("a"), queue.get(1.0), sync.group("g").members(), sync.clear()]

    assert await asyncio.to_thread(in_a_thread) == [4, 5, ["me"], 1]


async def test_the_twin_refuses_to_hold_up_an_event_loop(state: State) -> None:
    with pytest.raises(RuntimeError, match="await"):
        state.sync.get("a")


async def test_errors_name_things_as_the_caller_did() -> None:
    state = State(LocalState())
    await state.namespace("shop").set("text", "x")
    with pytest.raises(WrongType, match=r"'text' of 'shop'"):
        await state.namespace("shop").incr("text")
    with pytest.raises(NoSuchKey, match="no 'nope'"):
        await state.ttl("nope")
    with pytest.raises(TypeError, match="str, not 1"):
        await state.get(1)  # type: ignore[call-overload]
    async with state.lock("door"):
        with pytest.raises(LockTaken, match="lock 'door' was not free"):
            await state.lock("door", timeout=0.0).__aenter__()
