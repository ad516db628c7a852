"""What a session holds: keys and values, also bad ones, and atomic changes of them."""

import copy
from dataclasses import dataclass

import pytest

from tercio.errors import ConfigError
from tercio.sessions import Session, SessionStore
from tercio.sessions.record import Changes, packed
from tercio.state.state import State
from tests.sessions.browser import Browser, look, put
from tests.state.engines import Clock

Stores = tuple[SessionStore, SessionStore]


@dataclass(frozen=True)
class Point:
    x: int


async def test_a_key_that_is_no_string_is_refused_at_once(stores: Stores) -> None:
    session = Session(stores[0], None)
    for act in (
        lambda: session.__setitem__(17, 1),  # type: ignore[index]
        lambda: session.setdefault(17, 1),  # type: ignore[arg-type]
        lambda: session.update({17: 1}),
    ):
        with pytest.raises(TypeError, match="the key 17 of a session: expected a str"):
            act()
    with pytest.raises(TypeError, match="expected a str"):
        await session.change(17, lambda old: old, 0)  # type: ignore[arg-type]
    assert session == {}


async def test_a_record_that_nobody_can_read_is_as_good_as_none(
    stores: Stores, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    sessions = state.namespace(".sessions")
    (name,) = [name async for name, _ in sessions.scan()]
    await sessions.set(name, "of another version")
    assert (await browser.ask(look)).said == {}
    assert "as good as none" in caplog.text
    await browser.ask(put(a=2))
    assert (await browser.ask(look)).said == {"a": 2}


async def test_one_of_those_hinders_no_logout_everywhere(stores: Stores, state: State) -> None:
    ids = [await stores[0].create(Changes({"a": packed(1)}), "ada") for _ in range(3)]
    sessions = state.namespace(".sessions")
    names = [name async for name, value in sessions.scan() if isinstance(value, list)]
    await sessions.set(names[1], "of another version")
    assert await stores[1].revoke_all("ada") == 3
    assert [await stores[0].load(id) for id in ids] == [None] * 3


async def test_a_value_that_nobody_can_read_is_left_out(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    odd = packed({Point(1): 1})  # a key that no dict can have again
    id = await stores[0].create(Changes({"odd": odd, "good": packed(1)}))
    browser = Browser(stores[0], {"session": id})
    assert (await browser.ask(look)).said == {"good": 1}
    assert "'odd'" in caplog.text
    await browser.ask(put(b=2))
    assert (await browser.ask(look)).said == {"good": 1, "b": 2}


async def test_atomic_changes_renew_the_cookie_too(state: State, clock: Clock) -> None:
    async def hit(session: Session) -> object:
        return await session.change("hits", lambda hits: hits + 1, 0)

    browser = Browser(SessionStore(state, idle=1000, max_age=9000, clock=clock))
    await browser.ask(put(a=1))
    told = []
    for _ in range(3):
        clock.now += 100
        answer = await browser.ask(hit)
        assert answer.all(b"vary") == ["Cookie"]
        told += answer.all(b"set-cookie")
    assert len(told) == 3
    assert "Max-Age=1000" in told[-1]


async def test_what_is_stored_after_the_last_value_was_taken_is_kept(stores: Stores) -> None:
    async def swap(session: Session) -> None:
        await session.change("a", lambda _: None)
        session["b"] = 2

    async def take(session: Session) -> None:
        await session.change("b", lambda _: None)

    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    await browser.ask(swap)
    assert (await browser.ask(look)).said == {"b": 2}
    await browser.ask(take)
    assert not browser.cookies, "nothing is left that an id could be of"


async def test_all_of_a_dict_reads_it_first(stores: Stores) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    id = browser.cookies["session"]

    async def fresh() -> Session:
        session = Session(stores[1], id)
        return session if stores[1].is_near else await session.load()

    assert await fresh() != {}
    assert await fresh() | {"b": 2} == {"a": 1, "b": 2}
    assert {"b": 2} | await fresh() == {"a": 1, "b": 2}
    assert list(reversed(await fresh())) == ["a"]
    assert copy.copy(await fresh()) == {"a": 1}


async def test_stores_of_two_names_share_nothing(state: State) -> None:
    shop, admin = SessionStore(state), SessionStore(state, name="admin")
    id = await shop.create(Changes({"user": packed(1)}), "ada")
    assert await admin.load(id) is None
    assert await admin.revoke_all("ada") == 0
    assert await shop.load(id) is not None
    with pytest.raises(ConfigError, match="letters"):
        SessionStore(state, name="a:b")
