"""Sessions whose ids an application invents find their worker; see scripts/test-clients, too."""

import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tercio.integrations.mcp import OwnSessions
from tercio.testing import workers

APP = """
from uuid import uuid4
from tercio import cluster
from tercio.integrations.mcp import OwnSessions

sessions = {}


async def inner(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    asked = dict(scope["headers"]).get(b"mcp-session-id", b"").decode()
    status = 200 if not asked or asked in sessions else 404
    own = asked or uuid4().hex
    if status == 200:
        sessions[own] = sessions.get(own, 0) + 1
    headers = [(b"Mcp-Session-Id", own.encode()), (b"x-worker", cluster.worker.id.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": str(sessions.get(own)).encode()})


app = OwnSessions(inner)
"""


def ask(url: str, id: str = "") -> tuple[str, str, int]:
    """The session's id, the worker, and how often the session was used."""
    request = urllib.request.Request(url, headers={"Mcp-Session-Id": id} if id else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Mcp-Session-Id"], answer.headers["X-Worker"], int(answer.read())


@pytest.mark.skipif(sys.platform != "linux", reason="its connections move by Linux")
def test_each_session_stays_with_its_worker(tmp_path: Path) -> None:
    (tmp_path / "inventor.py").write_text(APP)
    options = ("--sticky", "header:mcp-session-id")
    with workers("inventor:app", 3, *options, cwd=tmp_path) as running:
        homes: set[str] = set()
        while len(homes) < 3:
            id, home, _ = ask(running.url)
            homes.add(home)
            for number in range(2, 12):
                assert ask(running.url, id) == (id, home, number)
        token, _, own = id.partition("~")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(running.url, f"{token}~{own}0")


async def answered(app: OwnSessions, *headers: tuple[bytes, bytes]) -> tuple[object, object]:
    """The headers that the application saw, and those that went out."""
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app({"type": "http", "headers": list(headers)}, None, send)
    return app.app.seen, sent[0]["headers"]


class Echo:
    """Answers with a header, and with none where it was told so."""

    seen: object = None

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self._headers = headers

    async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
        self.seen = scope["headers"]
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]


async def test_an_id_goes_out_with_a_name_and_comes_in_without() -> None:
    app = OwnSessions(Echo((b"MCP-Session-Id", b"7f"), (b"other", b"a~b")))
    seen, told = await answered(app)
    assert seen == []
    assert isinstance(told, list)
    name, id = told[0]
    assert name == b"MCP-Session-Id"
    assert id.endswith(b"~7f")
    assert told[1] == (b"other", b"a~b")
    # Known to the client already: it does not change.
    seen, told = await answered(app, (b"mcp-session-id", id), (b"x", b"y"))
    assert seen == [(b"mcp-session-id", b"7f"), (b"x", b"y")]
    assert told == [(b"MCP-Session-Id", id), (b"other", b"a~b")]


async def test_an_id_that_was_never_ours_comes_in_as_it_is() -> None:
    app = OwnSessions(Echo(), header="X-Session")
    seen, told = await answered(app, (b"x-session", b"plain"), (b"mcp-session-id", b"a~b"))
    assert seen == [(b"x-session", b"plain"), (b"mcp-session-id", b"a~b")]
    assert told == []
