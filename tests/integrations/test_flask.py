"""Flask's session in the shared state."""

import json
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import flask
import pytest
from flask.testing import FlaskClient

from tercio import cluster
from tercio.errors import ConfigError
from tercio.integrations.flask import Tercio
from tercio.testing import Clock, workers
from tests.engines.redis.valkey import Valkey


@pytest.fixture
def app(tercio_clock: Clock) -> flask.Flask:
    app = flask.Flask(__name__)
    Tercio(app)

    @app.get("/set/<key>/<value>")
    def store(key: str, value: str) -> str:
        flask.session[key] = value
        return "stored"

    @app.get("/")
    def show() -> Any:
        return dict(flask.session)

    @app.get("/quiet")
    def quiet() -> str:
        return "no session was looked at"

    @app.get("/login/<user>")
    def login(user: str) -> Any:
        session: Any = flask.session
        session.login(user)
        return {"new": session.new}

    @app.get("/logout")
    def logout() -> str:
        flask.session.clear()
        return "out"

    @app.get("/count")
    def count() -> Any:
        session: Any = flask.session
        return str(session.change("hits", lambda hits: hits + 1, 0))

    return app


def cookie_of(client: FlaskClient) -> str | None:
    found = client.get_cookie("session")
    return None if found is None else found.value


def test_it_is_kept_and_the_browser_has_an_id_only(app: flask.Flask) -> None:
    client = app.test_client()
    answer = client.get("/set/colour/blue")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "blue" not in cookie
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Cookie"
    assert client.get("/").json == {"colour": "blue"}
    assert "Set-Cookie" not in client.get("/").headers


def test_who_does_not_use_it_gets_none(app: flask.Flask) -> None:
    answer = app.test_client().get("/quiet")
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers
    assert "Set-Cookie" not in app.test_client().get("/").headers  # looked at, and left empty


def test_with_tls_the_cookie_is_bound_to_the_host(app: flask.Flask) -> None:
    client = app.test_client()
    answer = client.get("/set/a/1", base_url="https://shop.example")
    assert answer.headers["Set-Cookie"].startswith("__Host-session=")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert client.get("/", base_url="https://shop.example").json == {"a": "1"}


def test_an_unknown_id_is_not_adopted(app: flask.Flask) -> None:
    client = app.test_client()
    planted = "A" * 43
    client.set_cookie("session", planted)
    client.get("/set/a/1")
    assert cookie_of(client) not in (None, planted)
    other = app.test_client()
    other.set_cookie("session", planted)
    assert other.get("/").json == {}


def test_a_login_gives_another_id_and_the_old_one_is_worth_nothing(app: flask.Flask) -> None:
    client = app.test_client()
    client.get("/set/basket/pen")
    before = cookie_of(client)
    assert before is not None
    client.get("/login/ada")
    assert cookie_of(client) != before
    assert client.get("/").json == {"basket": "pen"}
    thief = app.test_client()
    thief.set_cookie("session", before)
    assert thief.get("/").json == {}


def test_a_logout_ends_it_for_every_copy_of_the_cookie(app: flask.Flask) -> None:
    client, copy = app.test_client(), app.test_client()
    client.get("/login/ada")
    client.get("/set/a/1")
    id = cookie_of(client)
    assert id is not None
    copy.set_cookie("session", id)
    assert "Max-Age=0" in client.get("/logout").headers["Set-Cookie"]
    assert copy.get("/").json == {}


def test_somebody_is_logged_out_everywhere(app: flask.Flask) -> None:
    clients = [app.test_client() for _ in range(3)]
    for client in clients:
        client.get("/set/a/1")
        client.get("/login/ada")
    assert app.extensions["tercio"].revoke_all("ada") == 3
    assert [client.get("/").json for client in clients] == [{}] * 3


def test_parallel_requests_of_one_session_lose_nothing(app: flask.Flask) -> None:
    first = app.test_client()
    first.get("/set/a/1")
    id = cookie_of(first)
    assert id is not None

    def ask(path: str) -> int:
        client = app.test_client()
        client.set_cookie("session", id)
        return client.get(path).status_code

    paths = [f"/set/key{number}/x" for number in range(20)] + ["/count"] * 40
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, paths)) == {200}
    assert first.get("/").json == {
        "a": "1",
        "hits": 40,
        **{f"key{number}": "x" for number in range(20)},
    }


def test_what_a_failed_request_stored_stays_as_flask_has_it(
    app: flask.Flask,
) -> None:
    @app.get("/fail")
    def fail() -> str:
        flask.session["a"] = "changed"
        raise ValueError("as asked")

    client = app.test_client()
    client.get("/set/a/1")
    assert client.get("/fail").status_code == 500
    assert client.get("/").json == {"a": "changed"}


def asked(app: flask.Flask, url: str = "http://localhost/") -> str:
    """The cookie with which an application answers who stores something."""

    @app.get("/begin")
    def begin() -> str:
        flask.session["a"] = 1
        return "begun"

    answer = app.test_client().get("/begin", base_url=url)
    assert answer.status_code == 200
    return answer.headers["Set-Cookie"]


def test_flasks_settings_of_the_cookie_are_kept(
    tercio_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    app = flask.Flask(__name__)
    Tercio(app)
    app.config.update(  # also what comes later
        SESSION_COOKIE_NAME="adm",
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=900,
    )
    cookie = asked(app)
    assert cookie.startswith("__Host-adm=")
    assert "; Secure" in cookie
    assert "; SameSite=Strict" in cookie
    assert "say Tercio(app, idle=" in caplog.text


def test_what_the_extension_is_told_comes_before_flasks_settings(tercio_clock: Clock) -> None:
    app = flask.Flask(__name__)
    app.config.update(SESSION_COOKIE_NAME="adm", SESSION_COOKIE_SECURE=True)
    Tercio(app, cookie="sid", secure=False, persistent=False, path="/begin")
    cookie = asked(app)
    assert cookie.startswith("sid=")
    assert "Max-Age" not in cookie
    assert "Path=/begin" in cookie
    assert "Secure" not in cookie
    with pytest.raises(ConfigError, match="same_site"):
        Tercio(app, same_site="none", secure=False)


def test_applications_of_two_names_share_no_session(tercio_clock: Clock) -> None:
    apps = [flask.Flask(__name__) for _ in range(2)]
    for app, name in zip(apps, ("", "admin"), strict=True):
        Tercio(app, name=name)
        app.add_url_rule("/", view_func=lambda: dict(flask.session))
    line = asked(apps[0])
    for app, known in zip(apps, ({"a": 1}, {}), strict=True):
        client = app.test_client()
        client.set_cookie("session", line.partition("=")[2].partition(";")[0])
        assert client.get("/").json == known


def test_a_change_may_use_the_session_and_the_state(app: flask.Flask) -> None:
    """It is called in the view's own thread, which nobody else waits for."""

    @app.get("/nested")
    def nested() -> Any:
        session: Any = flask.session
        session.change("hits", lambda _: cluster.sync.state.incr("hits") + len(session))
        return dict(session)

    client = app.test_client()
    client.get("/set/a/1")
    assert client.get("/nested").json == {"a": "1", "hits": 2}
    assert client.get("/").json == {"a": "1", "hits": 2}


def test_it_can_be_saved_and_read_again_by_hand(app: flask.Flask) -> None:
    other = app.test_client()

    @app.get("/by-hand")
    def by_hand() -> Any:
        session: Any = flask.session
        session["b"] = 2
        session.save()
        other.set_cookie("session", session.id)
        other.get("/set/c/3")
        return dict(session.load(again=True))

    client = app.test_client()
    client.get("/set/a/1")
    assert client.get("/by-hand").json == {"a": "1", "b": 2, "c": "3"}


SITE = """
import flask
from tercio import cluster
from tercio import cluster
from tercio.errors import ConfigError
from tercio.integrations.flask import Tercio

app = flask.Flask(__name__)
Tercio(app)


@app.get("/")
def visit():
    visits = flask.session.change("visits", lambda visits: visits + 1, 0)
    return [visits, cluster.worker.id]


@app.get("/login")
def login():
    flask.session.login("ada")
    return "in"


@app.get("/quiet")
def quiet():
    return "nobody looked"
"""
MOST = 400


@pytest.mark.parametrize("engine", ["embedded", "redis"])
def test_all_workers_have_one_session(engine: str, tmp_path: Path) -> None:
    (tmp_path / "site_of_flask.py").write_text(SITE)
    with ExitStack() as stack:
        options: tuple[str, ...] = ()
        if engine == "redis":
            # A Unix socket's path has to be short.
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            valkey = Valkey(Path(directory))
            stack.callback(valkey.kill)
            options = ("--redis", valkey.url, "--redis-required")
        served = workers("site_of_flask:app", 3, *options, cwd=tmp_path)
        running = stack.enter_context(served)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        number = 0
        for is_reloaded in (False, True):
            if is_reloaded:
                running.reload()
            seen: set[str] = set()
            while len(seen) < 3:
                number += 1
                with browser.open(running.url, timeout=30) as answer:
                    visits, worker = json.load(answer)
                assert visits == number
                seen.add(worker)
                assert number < MOST, f"only {seen} answered"
            browser.open(f"{running.url}/login", timeout=30).close()


def test_who_does_not_look_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "site_of_flask.py").write_text(SITE)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        valkey = Valkey(Path(directory))
        stack.callback(valkey.kill)
        options = ("--redis", valkey.url, "--redis-required")
        running = stack.enter_context(workers("site_of_flask:app", 1, *options, cwd=tmp_path))
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        browser.open(f"{running.url}/login", timeout=30).close()
        valkey.kill()
        with browser.open(f"{running.url}/quiet", timeout=30) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError):
            browser.open(running.url, timeout=30)
