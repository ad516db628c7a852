"""What a session promises, on every engine. Two stores over one state are two workers."""

import asyncio

import pytest

from tercio.errors import SessionNotLoaded
from tercio.sessions import Gone, Session, SessionStore
from tercio.sessions.record import Changes, packed
from tercio.state.state import State
from tests.sessions.browser import Browser, look, put
from tests.state.engines import Clock, Subject


async def test_what_one_worker_stores_the_other_one_reads(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    browser = Browser(stores[0])
    answer = await browser.ask(put(user="ada", cart=["pen"]))
    assert len(browser.cookies["session"]) == 43
    assert answer.all(b"vary") == ["Cookie"]
    assert answer.all(b"cache-control") == ["no-store"], "a cache must not keep somebody's id"
    browser.store = stores[1]
    answer = await browser.ask(look)
    assert answer.said == {"user": "ada", "cart": ["pen"]}
    assert not answer.all(b"set-cookie"), "nothing new to tell"
    assert not answer.all(b"cache-control")


async def test_who_does_not_look_at_the_session_costs_nothing(
    subject: Subject, stores: tuple[SessionStore, SessionStore]
) -> None:
    async def nothing(session: Session) -> None:
        pass

    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    before = subject.engine.counters()
    answer = await browser.ask(nothing)
    after = subject.engine.counters()
    assert answer.headers == []
    if stores[0].is_near:
        assert after == before, "it was read although nobody looked"


async def test_a_change_deep_inside_is_stored(stores: tuple[SessionStore, SessionStore]) -> None:
    async def append(session: Session) -> None:
        session["cart"]["items"].append("ink")

    browser = Browser(stores[0])
    await browser.ask(put(cart={"items": ["pen"]}))
    await browser.ask(append)
    assert (await browser.ask(look)).said == {"cart": {"items": ["pen", "ink"]}}


async def test_an_unknown_id_is_neither_adopted_nor_overwritten(
    state: State, stores: tuple[SessionStore, SessionStore]
) -> None:
    chosen = "A" * 43
    browser = Browser(stores[0], {"session": chosen})
    assert (await browser.ask(look)).said == {}
    await browser.ask(put(user="ada"))
    assert browser.cookies["session"] != chosen
    assert await stores[0].load(chosen) is None
    assert (await Browser(stores[0], {"session": chosen}).ask(look)).said == {}


async def test_a_login_gives_the_session_another_id_and_the_old_one_is_worth_nothing(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    async def login(session: Session) -> None:
        session.login("ada")

    browser = Browser(stores[0])
    await browser.ask(put(language="en"))
    planted = browser.cookies["session"]
    await browser.ask(login)
    assert browser.cookies["session"] != planted
    assert (await browser.ask(look)).said == {"language": "en"}

    attacker = Browser(stores[1], {"session": planted})
    assert (await attacker.ask(look)).said == {}
    answer = await attacker.ask(put(user="mallory"))
    assert not answer.all(b"set-cookie"), "a late request would overwrite the new cookie"
    assert (await browser.ask(look)).said == {"language": "en"}


async def test_parallel_requests_to_other_keys_lose_nothing(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    """Each has read the session before any of them writes."""
    browser = Browser(stores[0])
    await browser.ask(put(start=True, gone=True))
    everybody = asyncio.Barrier(20)

    async def one(number: int) -> None:
        async def handler(session: Session) -> None:
            session[f"key-{number}"] = number
            if number == 7:
                del session["gone"]
            await everybody.wait()

        await Browser(stores[number % 2], dict(browser.cookies)).ask(handler)

    await asyncio.gather(*(one(number) for number in range(20)))
    expected = {"start": True} | {f"key-{number}": number for number in range(20)}
    assert (await browser.ask(look)).said == expected


async def test_2_x_1000_parallel_updates_of_one_number_are_exact(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(user="ada"))

    async def count(store: SessionStore) -> None:
        async def handler(session: Session) -> None:
            await session.change("hits", lambda hits: hits + 1, 0)

        mine = Browser(store, dict(browser.cookies))
        for _ in range(100):
            await asyncio.gather(*(mine.ask(handler) for _ in range(10)))

    await asyncio.gather(count(stores[0]), count(stores[1]))
    assert (await browser.ask(look)).said == {"user": "ada", "hits": 2000}


async def test_after_a_logout_nothing_that_was_under_way_brings_it_back(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    async def logout(session: Session) -> None:
        session.logout()

    async def meanwhile(session: Session) -> None:
        session["late"] = True
        await Browser(stores[1], dict(browser.cookies)).ask(logout)

    browser = Browser(stores[0])
    await browser.ask(put(user="ada"))
    id = browser.cookies["session"]
    answer = await browser.ask(meanwhile)
    assert not answer.all(b"set-cookie"), "a login may have given the browser another one since"
    assert await stores[0].load(id) is None
    assert (await browser.ask(look)).said == {}


async def test_clear_ends_it_and_what_follows_is_another_one(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    async def change_user(session: Session) -> None:
        session.clear()
        session["user"] = "bob"

    browser = Browser(stores[0])
    await browser.ask(put(user="ada", cart=[1]))
    first = browser.cookies["session"]
    await browser.ask(change_user)
    assert browser.cookies["session"] != first
    assert await stores[1].load(first) is None
    assert (await browser.ask(look)).said == {"user": "bob"}


async def test_who_is_logged_out_everywhere_is_so_everywhere(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    async def login(session: Session) -> None:
        session.login("ada")

    phone, laptop, other = (Browser(stores[number % 2]) for number in range(3))
    await phone.ask(login)
    await laptop.ask(login)
    await other.ask(put(user="bob"))
    assert await stores[0].count("ada") == 2
    assert await stores[0].revoke_all("ada") == 2
    assert await phone.store.load(phone.cookies["session"]) is None
    assert await laptop.store.load(laptop.cookies["session"]) is None
    assert (await other.ask(look)).said == {"user": "bob"}
    assert await stores[1].count("ada") == 0


async def test_a_login_that_rotates_while_everything_is_revoked_does_not_escape(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    """Whichever comes first: afterwards no session of that user is good."""
    for _ in range(20):
        id = await stores[0].create(Changes({"a": packed(1)}), "ada")
        rotated, _ = await asyncio.gather(
            stores[0].rotate(id), stores[1].revoke_all("ada"), return_exceptions=True
        )
        await stores[1].revoke_all("ada")
        assert await stores[0].load(id) is None
        if isinstance(rotated, str):
            assert await stores[0].load(rotated) is None
        else:
            assert isinstance(rotated, Gone)


async def test_idle_and_absolute_ends(state: State, clock: Clock) -> None:
    store = SessionStore(state, idle=100, max_age=250, clock=clock)
    browser = Browser(store)
    answer = await browser.ask(put(a=1))
    assert "Max-Age=100" in answer.all(b"set-cookie")[0]
    id = browser.cookies["session"]
    for left in (100, 90, 10):
        clock.now += 80
        answer = await browser.ask(look)
        assert answer.said == {"a": 1}
        assert f"Max-Age={left};" in answer.all(b"set-cookie")[0] + ";"
    clock.now += 11  # 251 s since it began, 11 s after it was used
    assert await store.load(id) is None
    assert (await Browser(store, {"session": id}).ask(look)).said == {}

    id = await store.create(Changes({"a": packed(1)}))
    clock.now += 101
    assert await store.load(id) is None, "nobody came for longer than the idle time"
    with pytest.raises(Gone):
        await store.save(id, Changes({"b": packed(2)}))


async def test_reading_often_writes_seldom(state: State, clock: Clock, subject: Subject) -> None:
    store = SessionStore(state, idle=1000, max_age=9000, clock=clock)
    browser = Browser(store)
    await browser.ask(put(a=1))
    told = []
    for _ in range(60):
        clock.now += 2
        told += (await browser.ask(look)).all(b"set-cookie")
    assert len(told) == 2, "the idle time begins anew each twentieth of it"


async def test_what_is_changed_after_the_answer_began_is_stored(
    stores: tuple[SessionStore, SessionStore], caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(a=1), late=put(b=2))
    assert (await browser.ask(look)).said == {"a": 1, "b": 2}

    stranger = Browser(stores[0])
    await stranger.ask(look, late=put(c=3))
    assert not stranger.cookies
    assert "cannot be told to the browser" in caplog.text


async def test_the_state_does_not_know_the_ids(state: State) -> None:
    """Who can read it cannot take a session over."""
    store = SessionStore(state)
    id = await store.create(Changes({"a": packed(1)}), "ada")
    names = [name async for name, _ in state.namespace(".sessions").scan()]
    assert names
    assert all(id not in name for name in names)


async def test_a_session_on_a_server_says_that_it_must_be_read_first(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    async def load(session: Session) -> object:
        return dict(await session.load())

    browser = Browser(stores[0], options={"load": "explicit"})
    await browser.ask(put(a=1))
    if not stores[0].is_near:
        with pytest.raises(SessionNotLoaded, match=r"await request\.session\.load"):
            await browser.ask(look)
    assert (await browser.ask(load)).said == {"a": 1}


async def test_a_request_that_fails_changes_nothing(
    stores: tuple[SessionStore, SessionStore],
) -> None:
    async def fail(session: Session) -> None:
        session["a"] = 2
        raise ValueError("on purpose")

    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    with pytest.raises(ValueError, match="on purpose"):
        await browser.ask(fail)
    assert (await browser.ask(look)).said == {"a": 1}
