"""Starlette's ordinary features, over a real worker, to the clients that people have."""

import gzip
import hashlib
import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tercio.dataplane.scoreboard import Field
from tests.http.frameworks.clients import Fetch, standard
from tests.http.frameworks.rigs import LARGE, rig_of
from tests.worker.rig import LIMIT, Rig

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_of("starlette_app", request.param, tmp_path_factory.mktemp("static")) as rig:
        yield rig


def test_a_page_is_answered(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/hello?name=x%20y")
    assert got.status == 200
    assert json.loads(got.body) == {"hello": "x y", "said": "at the start"}


def test_middleware_sees_answers(rig: Rig, fetch: Fetch) -> None:
    for path in ("/timed/hello", "/timed/stream"):
        got = fetch(rig.address, path)
        assert (got.status, got.headers["x-timed"]) == (200, "yes")


def test_a_head_has_no_body(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/hello", method="HEAD")
    assert (got.status, got.body) == (200, b"")
    assert int(got.headers["content-length"]) > 0


@pytest.mark.parametrize(("path", "count"), [("/stream", 1000), ("/threads", 100)])
def test_a_stream_arrives_whole(rig: Rig, fetch: Fetch, path: str, count: int) -> None:
    got = fetch(rig.address, path)
    assert got.body == b"".join(b"%06d\n" % index for index in range(count))
    assert got.headers["transfer-encoding"] == "chunked"


def test_a_stream_may_be_compressed(rig: Rig) -> None:
    got = standard(rig.address, "/stream", headers={"Accept-Encoding": "gzip"})
    assert got.headers["content-encoding"] == "gzip"
    assert gzip.decompress(got.body) == b"".join(b"%06d\n" % index for index in range(1000))


def test_a_task_runs_after_the_answer(rig: Rig, fetch: Fetch) -> None:
    assert fetch(rig.address, "/background").body == b"answered"
    assert rig.tells() == "after the answer\n"


@pytest.mark.parametrize("size", [0, 1, 70_000, 10_000_000])
def test_an_upload_arrives_whole(rig: Rig, fetch: Fetch, size: int) -> None:
    body = (b"%09d\n" * 7000 % tuple(range(7000))) * (size // 70_000 + 1)
    body = body[:size]
    got = json.loads(fetch(rig.address, "/upload", method="POST", body=body).body)
    assert got == {"size": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_errors_and_redirects_are_the_frameworks(rig: Rig, fetch: Fetch) -> None:
    assert fetch(rig.address, "/nowhere").status == 404
    assert fetch(rig.address, "/hello", method="DELETE").status == 405
    got = fetch(rig.address, "/fails")
    assert (got.status, got.headers["x-why"], got.body) == (418, "asked", b"as asked")
    assert fetch(rig.address, "/redirect").headers["location"] == "/hello"


def test_every_cookie_has_its_line(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(b"GET /redirect HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.sock.recv(1 << 16), b""))
    assert received.count(b"\r\nset-cookie: ") == 2


def test_static_files_are_served(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/static/large.bin")
    assert (got.status, got.body) == (200, LARGE)
    assert got.headers["content-length"] == str(len(LARGE))
    assert fetch(rig.address, "/static/none").status == 404
    assert fetch(rig.address, "/static/../starlette_app.py").status == 404
    etag = got.headers["etag"]
    again = fetch(rig.address, "/static/large.bin", headers={"If-None-Match": etag})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/static/large.bin", "/file"])
def test_a_part_of_a_file_is_served(rig: Rig, fetch: Fetch, path: str) -> None:
    got = fetch(rig.address, path, headers={"Range": "bytes=100-199"})
    assert (got.status, got.body) == (206, LARGE[100:200])
    assert got.headers["content-range"] == f"bytes 100-199/{len(LARGE)}"
    got = fetch(rig.address, path, headers={"Range": f"bytes={len(LARGE)}-"})
    assert got.status == 416


def test_an_application_hears_that_its_client_is_gone(rig: Rig) -> None:
    with rig.connect() as client:
        client.ask("/until-gone")
        assert rig.tells() == "it came\n"
    assert rig.tells() == "it is gone\n"
    rig.count(Field.IN_FLIGHT, 0)


@pytest.mark.parametrize("path", ["/endless", "/timed/endless"])
def test_an_endless_stream_ends_with_its_client(rig: Rig, path: str) -> None:
    with rig.connect() as client:
        client.ask(path)
        assert client.head() == 200
        assert client.chunk() == b"tick\n"
    assert rig.tells() == "the stream ended\n"
    rig.count(Field.IN_FLIGHT, 0)


def test_a_websocket_echoes(rig: Rig) -> None:
    url = "ws://{}:{}/echo".format(*rig.address)
    protocols = [Subprotocol("echo")]
    with connect(url, open_timeout=LIMIT, subprotocols=protocols) as websocket:
        assert websocket.subprotocol == "echo"
        for message in ("text", b"bytes", "", b"", "ä" * 100_000, bytes(500_000)):
            websocket.send(message)
            assert websocket.recv(LIMIT) == message
        websocket.close(4000, "enough")
    assert rig.tells() == "4000 enough\n"


def test_a_websocket_may_be_denied(rig: Rig) -> None:
    url = "ws://{}:{}/denied".format(*rig.address)
    with pytest.raises(InvalidStatus) as caught, connect(url, open_timeout=LIMIT):
        pass
    assert caught.value.response.status_code == 403
    assert caught.value.response.body == b"not you"
