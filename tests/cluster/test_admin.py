"""The admin API against the threats to it, with requests as an attacker would send them."""

import json
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tercio.sidecar.failures import ALLOWED
from tercio.sidecar.pages import FILES
from tercio.sidecar.routes import ROUTES, Route
from tercio.sidecar.schemas import fault
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.look import short_directory
from tests.cluster.probing import Reply, UnixConnection, ask
from tests.cluster.programs import faulty

JSON = {"content-type": "application/json"}
CHANGES = [route for route in ROUTES if route.is_change]
BODIES: dict[str, dict[str, object]] = {
    "login": {"token": "wrong"}, "logout": {}, "reload": {}, "scale": {"to": 1},
    "recycle": {"slots": [0]}, "dump": {"slot": 0}, "stop": {},
}  # fmt: skip


class Door:
    """The API of one cluster, and its tokens."""

    def __init__(self, path: Path, tokens: dict[str, str]) -> None:
        self.path = path
        self.tokens = tokens

    def send(self, route: Route, scope: str = "", **headers: str) -> Reply:
        """A request that is right but for its headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if scope:
            sent["authorization"] = f"Bearer {self.tokens[scope]}"
        body = None
        if route.is_change:
            sent = {**JSON, **sent}
            body = json.dumps(BODIES[route.name]).encode()
        if route.name in ("events", "stream"):
            return self._begun(route.path, sent)
        target = route.path.replace("{slot}", "0")
        return ask(self.path, target, route.method, sent, body)

    def _begun(self, target: str, headers: dict[str, str]) -> Reply:
        """The head of an answer that does not end."""
        connection = UnixConnection(self.path)
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, b"")
        finally:
            connection.close()


def route_of(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)


@pytest.fixture
def door(cluster: Cluster) -> Iterator[Door]:
    """A cluster of one worker, with a file of tokens."""
    with short_directory() as directory:
        tokens = {scope: secrets.token_urlsafe(32) for scope in ("read", "operate", "admin")}
        file = directory / "tokens"
        write_tokens(file, tokens)
        cluster.write_app(faulty())
        options = ("--admin", f"unix:{directory / 'a'}", "--admin-token-file", str(file))
        cluster.start("-w", "1", *QUICK, *options)
        yield Door(directory / "a", tokens)


@pytest.fixture
def open_door(cluster: Cluster) -> Iterator[Door]:
    """One without such a file: reading needs no token, and one for changes was made."""
    with short_directory() as directory:
        cluster.write_app(faulty())
        cluster.start("-w", "1", *QUICK, "--admin", f"unix:{directory / 'a'}")
        scope, token = (cluster.control.parent / "admin.token").read_text().split()
        yield Door(directory / "a", {scope: token})


def write_tokens(file: Path, tokens: dict[str, str]) -> None:
    new = file.with_suffix(".new")
    new.touch(0o600)
    new.write_text("".join(f"{scope} {token}\n" for scope, token in tokens.items()))
    new.rename(file)


def assert_untouched(cluster: Cluster) -> None:
    status = cluster.status()
    assert [worker["worker"] for worker in status["workers"]] == ["0.1"], status
    assert not {"ReloadStarted", "Scaled", "StopStarted"} & set(cluster.kinds())


def test_threat_3_a_page_of_another_site_changes_nothing(cluster: Cluster, open_door: Door) -> None:
    for route in CHANGES:
        for headers in (
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site", "origin": "http://localhost"},
            {"sec_fetch_site": "none"},
            {"origin": "http://localhost:9999"},
            {"origin": "null"},
        ):
            assert open_door.send(route, "admin", **headers).status == 403, (route, headers)
        for form in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            assert open_door.send(route, "admin", content_type=form).status == 415
        target = route.path
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
            reply = ask(open_door.path, target, method, JSON)
            assert reply.status == 405
            assert not any(name.startswith("access-control") for name in reply.headers)
        if route.scope:
            assert open_door.send(route).status == 401
    assert_untouched(cluster)


def test_threat_3_a_cookie_alone_changes_nothing(cluster: Cluster, door: Door) -> None:
    body = json.dumps({"token": door.tokens["admin"]}).encode()
    reply = ask(door.path, "/api/v1/login", "POST", JSON, body)
    assert reply.status == 200
    cookie = reply.headers["set-cookie"]
    assert "SameSite=Strict" in cookie
    assert "HttpOnly" in cookie
    assert door.tokens["admin"] not in cookie
    named, word = cookie.partition(";")[0], reply.json["csrf"]
    assert door.send(route_of("status"), cookie=named).status == 200
    assert door.send(route_of("stop"), cookie=named).status == 403
    here = {"cookie": named, "sec_fetch_site": "same-origin"}
    assert door.send(route_of("stop"), **here).status == 403
    assert door.send(route_of("stop"), **here, x_tercio_csrf="wrong").status == 403
    assert door.send(route_of("stop"), cookie=named, x_tercio_csrf=word).status == 403
    assert_untouched(cluster)
    assert door.send(route_of("dump"), **here, x_tercio_csrf=word).status == 200
    assert door.send(route_of("logout"), **here, x_tercio_csrf=word).status == 200
    assert door.send(route_of("status"), cookie=named).status == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:80"])
def test_threat_4_no_route_answers_to_a_strangers_name(
    cluster: Cluster, open_door: Door, host: str
) -> None:
    for route in ROUTES:
        assert open_door.send(route, "admin", host=host).status == 421, route
    for path in (*FILES, "/nothing"):
        assert ask(open_door.path, path, headers={"host": host}).status == 421
    for known in ("localhost", "LOCALHOST:8", "127.0.0.1:1", "[::1]", "192.0.2.7:80"):
        assert open_door.send(route_of("status"), host=known).status == 200
    assert_untouched(cluster)


def test_threat_5_no_page_of_another_site_listens(open_door: Door) -> None:
    for name in ("events", "stream", "status"):
        route = route_of(name)
        assert open_door.send(route).status == 200
        assert open_door.send(route, origin="http://localhost").status == 200
        assert open_door.send(route, origin="http://evil.example").status == 403
        assert open_door.send(route, sec_fetch_site="cross-site").status == 403
        assert open_door.send(route, sec_fetch_site="same-origin").status == 200


def test_threat_5_pages_of_other_sites_get_a_link_and_no_part_of_the_page(door: Door) -> None:
    for path in FILES:
        assert ask(door.path, path).status == 200
        assert ask(door.path, path, "HEAD").body == b""
        assert ask(door.path, path, "POST", JSON, b"{}").status in (404, 405)
        for mode in ("cors", "no-cors", "websocket", "navigate"):
            headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode}
            reply = ask(door.path, path, headers=headers)
            assert reply.status == (200 if (path, mode) == ("/", "navigate") else 403), (path, mode)
        origin = {"origin": "http://evil.example", "sec-fetch-mode": "cors"}
        assert ask(door.path, path, headers=origin).status == 403
    for path in (
        "/page/",
        "/page/../boot.py",
        "/page/%2e%2e/boot.py",
        "/page//main.js",
        "/index.html",
    ):
        assert ask(door.path, path).status == 404


def test_threat_5_a_token_in_the_address_is_none(door: Door) -> None:
    token = door.tokens["admin"]
    for query in (f"token={token}", f"access_token={token}"):
        assert ask(door.path, f"/api/v1/stream?{query}").status == 401


def test_threat_6_each_route_wants_its_scope(cluster: Cluster, door: Door) -> None:
    order = ("read", "operate", "admin")
    for route in ROUTES:
        if not route.scope or route.name in ("logout", "stop", "reload", "recycle", "scale"):
            continue
        assert door.send(route).status == 401
        for scope in order:
            allowed = order.index(scope) >= order.index(route.scope)
            assert door.send(route, scope).status == (200 if allowed else 403), (route, scope)
    for name in ("reload", "recycle", "scale", "stop"):
        assert door.send(route_of(name), "read").status == 403
    assert door.send(route_of("stop"), "operate").status == 403
    assert_untouched(cluster)
    assert door.send(route_of("stop"), "admin").status == 200
    assert cluster.wait_end() == 0


def test_threat_6_a_token_ends_when_it_leaves_the_file(door: Door) -> None:
    status, file = route_of("status"), door.path.parent / "tokens"
    old = dict(door.tokens)
    assert door.send(status, "read").status == 200
    door.tokens["read"] = secrets.token_urlsafe(32)
    write_tokens(file, door.tokens)
    assert door.send(status, "read").status == 200
    assert Door(door.path, old).send(status, "read").status == 401
    file.chmod(0o644)  # others may have read it: nobody is let in
    assert door.send(status, "admin").status == 401
    file.chmod(0o600)
    assert door.send(status, "admin").status == 200


@pytest.mark.parametrize("has_token", [False, True])
def test_threat_6_it_is_not_opened_to_others_unprotected(cluster: Cluster, has_token: bool) -> None:
    options = ["--admin", "0.0.0.0:0"]
    if has_token:
        file = cluster.directory / "tokens"
        write_tokens(file, {"admin": secrets.token_urlsafe(32)})
        options += ["--admin-token-file", str(file)]
    cluster.start(*options, wait="")
    assert cluster.wait_end() == 2
    wanted = "--admin-ssl-certfile" if has_token else "--admin-token-file"
    assert f"expected {wanted}" in cluster.story()


@pytest.mark.parametrize("token", ["short", "a" * 64, "0123456789abcdef0123456789abcde"])
def test_threat_6_weak_tokens_are_refused_and_never_shown(cluster: Cluster, token: str) -> None:
    file = cluster.directory / "tokens"
    write_tokens(file, {"admin": token})
    cluster.start("--admin", "127.0.0.1:0", "--admin-token-file", str(file), wait="")
    assert cluster.wait_end() == 2
    assert "128 random bits" in cluster.story()
    assert token not in cluster.story()


def test_threat_7_who_guesses_has_to_wait(door: Door) -> None:
    status = route_of("status")
    guesses = [
        ask(door.path, status.path, headers={"authorization": f"Bearer {n}"}).status
        for n in range(ALLOWED + 5)
    ]
    assert guesses[:ALLOWED] == [401] * ALLOWED
    assert guesses[-1] == 429
    forwarded = {"authorization": "Bearer x", "x-forwarded-for": "192.0.2.1"}
    refused = ask(door.path, status.path, headers=forwarded)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert door.send(status, "read").status == 200  # who knows a token does not wait


def test_threat_7_no_token_is_shown_anywhere(cluster: Cluster, door: Door) -> None:
    said = [door.send(route, "operate").body for route in ROUTES if route.method == "GET"]
    guess = secrets.token_urlsafe(32)
    bad = {"authorization": f"Bearer {guess}"}
    said.append(ask(door.path, "/api/v1/status", headers=bad).body)
    said += [door.send(route_of("dump"), "operate").body, cluster.story().encode()]
    said += [cluster.tercio("status", "--json").stdout.encode()]
    for pid in cluster.living():
        said.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    for secret in (*door.tokens.values(), guess):
        assert not any(secret.encode() in text for text in said)


def test_threat_8_orders_choose_only_what_is_known(cluster: Cluster, door: Door) -> None:
    bearer = {**JSON, "authorization": f"Bearer {door.tokens['admin']}"}
    for name, body in (
        ("reload", {"app": "os:system"}),
        ("reload", {"environ": {"A": "b"}}),
        ("scale", {"to": "$(id)"}),
        ("scale", {"to": True}),
        ("scale", {}),
        ("recycle", {"slots": []}),
        ("recycle", {"slots": "0"}),
        ("dump", {"slot": -1}),
        ("stop", {"now": "yes"}),
        ("stop", []),
    ):
        reply = ask(door.path, f"/api/v1/{name}", "POST", bearer, json.dumps(body).encode())
        assert reply.status == 422, (name, body)
    for raw in (b"", b"{", b"[" * 9000, b"\xff", b"NaN"):
        assert ask(door.path, "/api/v1/stop", "POST", bearer, raw).status == 422
    assert ask(door.path, "/api/v1/stop", "POST", bearer, b" " * 20_000).status == 413
    assert ask(door.path, "/api/v1/dump", "POST", bearer, b'{"slot": 0.0}').status == 200
    for raw in (b'{"slot": 0.5}', b'{"slot": 1e999}', b'{"slot": -1e300}'):
        assert ask(door.path, "/api/v1/dump", "POST", bearer, raw).status == 422
    assert_untouched(cluster)


def values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    names = st.sampled_from(["wait", "slots", "slot", "to", "token", "x"])
    return st.dictionaries(names, leaves | st.lists(leaves, max_size=3), max_size=3) | leaves


def test_threat_8_whatever_comes_is_answered_and_never_a_fault(
    cluster: Cluster, door: Door
) -> None:
    """A fuzz of the API's document: no answer but those it names, and no traceback."""
    document = ask(
        door.path,
        "/api/v1/openapi.json",
        headers={"authorization": f"Bearer {door.tokens['read']}"},
    ).json
    changes = [
        (path, operation["post"])
        for path, operation in document["paths"].items()
        if "post" in operation
    ]

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(changes), values())
    def fuzz(change: tuple[str, dict[str, Any]], value: object) -> None:
        path, operation = change
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        # Where the order would be carried out, the token is not good enough for it.
        is_wrong = bool(fault(value, schema))
        token = door.tokens["admin" if is_wrong else "read"]
        headers = {**JSON, "authorization": f"Bearer {token}"}
        if path.endswith("/login"):
            return  # its guesses are counted: see threat 7
        reply = ask(door.path, path, "POST", headers, json.dumps(value).encode())
        assert str(reply.status) in operation["responses"]
        assert reply.status == 422 if is_wrong else reply.status in (200, 403)

    fuzz()
    assert "Traceback" not in cluster.story()
    assert_untouched(cluster)


def test_a_viewer_sees_states_and_events_and_can_come_back(cluster: Cluster, door: Door) -> None:
    bearer = {"authorization": f"Bearer {door.tokens['operate']}"}
    connection = UnixConnection(door.path)
    try:
        connection.request("GET", "/api/v1/stream", headers=bearer)
        answer = connection.getresponse()
        assert answer.getheader("content-type") == "text/event-stream"
        seen = read_until(answer, "state")
        assert json.loads(seen)["status"]["name"] == cluster.status()["name"]
        assert door.send(route_of("scale"), "operate").status == 200  # to 1, which it has
        cluster.ask("scale", to="2")
        scaled = json.loads(read_until(answer, "event", "Scaled"))
    finally:
        connection.close()
    again = UnixConnection(door.path)
    try:
        last = {**bearer, "last-event-id": str(scaled["sequence"] - 1)}
        again.request("GET", "/api/v1/events", headers=last)
        first = json.loads(read_until(again.getresponse(), "event"))
        assert first["sequence"] == scaled["sequence"]
    finally:
        again.close()


def read_until(answer: Any, kind: str, text: str = "") -> str:
    """The data of the next event of a kind."""
    deadline, named = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        line = answer.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            named = line.removeprefix("event: ")
        elif line.startswith("data: ") and named == kind and text in line:
            return str(line.removeprefix("data: "))
    raise AssertionError(f"no {kind} came")


def test_a_viewer_too_many_is_sent_away(open_door: Door) -> None:
    viewers: list[UnixConnection] = []
    answers = []
    try:
        for _ in range(16):
            viewers.append(UnixConnection(open_door.path))
            viewers[-1].request("GET", "/api/v1/stream")
            answers.append(viewers[-1].getresponse())
            assert answers[-1].status == 200
        assert ask(open_door.path, "/api/v1/events").status == 503
        assert ask(open_door.path, "/api/v1/status").status == 200
        # Who has a token is not kept out: the first who has none makes place.
        assert open_door.send(route_of("stream"), "admin").status == 200
        assert answers[0].read().endswith(b"\n\n")  # its end
        assert read_until(answers[1], "state")
    finally:
        for viewer in viewers:
            viewer.close()


def test_without_a_file_the_token_is_private_and_goes(cluster: Cluster, open_door: Door) -> None:
    file = cluster.control.parent / "admin.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert open_door.send(route_of("stop"), "admin").status == 200
    assert cluster.wait_end() == 0
    assert not file.exists()


def test_it_listens_at_an_address_with_a_token(cluster: Cluster) -> None:
    file = cluster.directory / "tokens"
    token = secrets.token_urlsafe(32)
    write_tokens(file, {"read": token})
    options = ("--admin", "0.0.0.0:0", "--admin-token-file", str(file), "--admin-insecure")
    cluster.start("-w", "1", *QUICK, *options)
    url = cluster.first("SidecarStarted")["admin"][0]
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(
            f"GET /api/v1/status HTTP/1.0\r\nhost: localhost\r\n"
            f"authorization: Bearer {token}\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 200")
