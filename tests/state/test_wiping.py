"""Removing what is not a value."""

from tercio import cluster


async def test_a_limit_is_forgotten_in_all_its_kinds() -> None:
    state = cluster.state
    for _ in range(2):
        for kind in ("fixed", "moving", "sliding"):
            window = await state.limit("login", 1, 60, kind=kind)
            assert window.allowed
        assert await state.remove_limit("login")
    assert not await state.remove_limit("login")


async def test_wipe_removes_everything_of_one_namespace() -> None:
    mine, other = cluster.state.namespace("mine"), cluster.state.namespace("mine2")
    for state in (mine, other):
        await state.set("value", 1)
        await state.queue("queue").put(1)
        await state.group("group").add("ada")
        assert (await state.limit("limit", 1, 60, kind="moving")).allowed
    assert await mine.wipe() == 4
    assert [await mine.get("value"), await mine.queue("queue").size()] == [None, 0]
    assert await mine.group("group").members() == []
    assert (await mine.limit("limit", 1, 60, kind="moving")).allowed
    assert [await other.get("value"), await other.queue("queue").size()] == [1, 1]
    assert not (await other.limit("limit", 1, 60, kind="moving")).allowed


def test_threads_wipe_and_forget_too() -> None:
    state = cluster.sync.state.namespace("threads")
    state.set("value", 1)
    assert state.limit("login", 1, 60).allowed
    assert state.remove_limit("login")
    assert state.limit("login", 1, 60).allowed
    assert state.wipe() == 2
