"""Requests that are under way while another one gives their session another id, or ends it."""

import pytest

from tercio.sessions import Session, SessionStore
from tests.sessions.browser import Browser, Handler, look, put

Stores = tuple[SessionStore, SessionStore]


def meanwhile(browser: Browser, store: SessionStore, first: Handler) -> Handler:
    """Changes something; but before it is done, the same browser asks at another worker."""

    async def handler(session: Session) -> None:
        session["late"] = True
        other = Browser(store, dict(browser.cookies))
        await other.ask(first)
        browser.cookies = other.cookies

    return handler


async def login(session: Session) -> None:
    session.login("ada")


async def logout(session: Session) -> None:
    session.logout()


async def change_user(session: Session) -> None:
    """As Flask's tutorial does it."""
    session.clear()
    session["user"] = "bob"


async def subject(session: Session) -> str | None:
    return session.subject


async def test_who_comes_late_does_not_take_the_cookie_of_a_login(stores: Stores) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(cart=["pen"]))
    answer = await browser.ask(meanwhile(browser, stores[1], login))
    assert not answer.all(b"set-cookie")
    assert (await browser.ask(subject)).said == "ada"
    assert (await browser.ask(look)).said == {"cart": ["pen"]}


async def test_who_comes_late_does_not_begin_another_one_either(stores: Stores) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(user="ada"))
    before = dict(browser.cookies)
    answer = await browser.ask(meanwhile(browser, stores[1], change_user))
    assert not answer.all(b"set-cookie")
    late = await Browser(stores[0], before).ask(put(later=True))
    assert not late.all(b"set-cookie")
    assert (await browser.ask(look)).said == {"user": "bob"}


async def test_a_login_with_the_id_before_is_one(stores: Stores) -> None:
    """The answer to the first one was lost, and the browser asks again."""
    browser = Browser(stores[0])
    await browser.ask(put(cart=["pen"]))
    lost = Browser(stores[1], dict(browser.cookies))
    await lost.ask(login)
    await browser.ask(login)
    assert (await browser.ask(subject)).said == "ada"


@pytest.mark.parametrize("times", [1, 3])
async def test_a_logout_with_the_id_before_ends_the_one_after(stores: Stores, times: int) -> None:
    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    before = dict(browser.cookies)
    for _ in range(times):
        await browser.ask(login)
    assert await stores[0].count("ada") == 1
    await Browser(stores[1], before).ask(logout)
    assert (await browser.ask(subject)).said is None
    assert await stores[0].count("ada") == 0


async def test_a_logout_and_a_login_in_one_request_with_the_id_before(stores: Stores) -> None:
    async def both(session: Session) -> None:
        session.logout()
        session.login("bob")

    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    before = dict(browser.cookies)
    await browser.ask(login)
    other = Browser(stores[1], before)
    await other.ask(both)
    assert (await other.ask(subject)).said == "bob"
    assert (await browser.ask(subject)).said is None


async def test_somebody_else_does_not_get_what_was_stored(stores: Stores) -> None:
    async def other(session: Session) -> None:
        session.login("bob")
        session["new"] = 1

    browser = Browser(stores[0])
    await browser.ask(put(cart=["pen"]))
    await browser.ask(login)
    await browser.ask(put(secret="of ada"))
    await browser.ask(login)
    assert (await browser.ask(look)).said == {"cart": ["pen"], "secret": "of ada"}
    await browser.ask(other)
    assert (await browser.ask(look)).said == {"new": 1}
    assert (await browser.ask(subject)).said == "bob"


async def test_who_looks_again_sees_a_logout(stores: Stores) -> None:
    """As a WebSocket does that lasts."""
    browser = Browser(stores[0])
    await browser.ask(put(a=1))
    await browser.ask(login)
    socket = await Session(stores[1], browser.cookies["session"]).load()
    assert (socket.subject, dict(socket)) == ("ada", {"a": 1})
    await stores[0].revoke_all("ada")
    await socket.load(again=True)
    assert (socket.subject, socket.id, dict(socket)) == (None, None, {})


async def test_a_login_needs_somebody(stores: Stores) -> None:
    session = Session(stores[0], None)
    for nobody in (None, 42, b"ada"):
        with pytest.raises(TypeError, match="expected a str"):
            session.login(nobody)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="logout"):
        session.login("")
    assert session.subject is None
