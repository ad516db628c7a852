"""Django's ordinary features over ASGI, in a real worker, to the clients that people have."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from tercio.dataplane.scoreboard import Field
from tests.http.frameworks.clients import Fetch
from tests.http.frameworks.rigs import LARGE, rig_of
from tests.worker.rig import Rig

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_of("django_app", request.param, tmp_path_factory.mktemp("static")) as rig:
        yield rig


def test_pages_are_answered(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/hello?name=x%20y")
    assert json.loads(got.body) == {"hello": "x y", "host": "{}:{}".format(*rig.address)}
    assert fetch(rig.address, "/thread").body == b"GET http"
    assert fetch(rig.address, "/thread", method="DELETE").body == b"DELETE http"
    assert fetch(rig.address, "/nowhere").status == 404


def test_a_head_has_no_body(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/thread", method="HEAD")
    assert (got.status, got.body) == (200, b"")


@pytest.mark.parametrize(("path", "count"), [("/stream", 1000), ("/threads", 100)])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
def test_a_stream_arrives_whole(rig: Rig, fetch: Fetch, path: str, count: int) -> None:
    got = fetch(rig.address, path)
    assert got.body == b"".join(b"%06d\n" % index for index in range(count))


def test_a_file_is_sent(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/large")
    assert (got.status, got.body) == (200, LARGE)


@pytest.mark.parametrize("size", [0, 100, 10_000_000])
def test_an_upload_of_a_form_arrives_whole(rig: Rig, fetch: Fetch, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    body = (
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
        + content
        + b"\r\n--cut--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=cut"}
    # Django reads no more of a form than a length says: chunks have none.
    headers = kind | {"Content-Length": str(len(body))}
    got = fetch(rig.address, "/upload", method="POST", headers=headers, body=body)
    digest = hashlib.sha256(content).hexdigest()
    assert json.loads(got.body) == {"size": size, "sha256": digest, "name": "a.bin"}


def test_a_body_in_chunks_arrives_whole(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.send((b"186a0\r\n" + bytes(100_000) + b"\r\n") * 10 + b"0\r\n\r\n")
        status, body = client.answer()
    assert (status, json.loads(body)) == (200, {"size": 1_000_000})


def test_static_files_are_served(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/static/large.bin")
    assert (got.status, got.body) == (200, LARGE)
    assert fetch(rig.address, "/static/small.txt").body == b"small"
    assert fetch(rig.address, "/static/none.txt").status == 404
    since = {"If-Modified-Since": got.headers["last-modified"]}
    assert fetch(rig.address, "/static/large.bin", headers=since).status == 304


def test_every_cookie_has_its_line(rig: Rig) -> None:
    with rig.connect() as client:
        client.send(b"GET /cookies HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.sock.recv(1 << 16), b""))
    assert received.lower().count(b"\r\nset-cookie: ") == 2


def test_errors_are_answered(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/raises")
    assert got.status == 500
    assert b"as asked" in got.body  # DEBUG is on


def test_an_application_hears_that_its_client_is_gone(rig: Rig) -> None:
    with rig.connect() as client:
        client.ask("/until-cancelled")
        assert rig.tells() == "it came\n"
    assert rig.tells() == "it is gone\n"
    rig.count(Field.IN_FLIGHT, 0)


def test_an_endless_stream_ends_with_its_client(rig: Rig) -> None:
    with rig.connect() as client:
        client.ask("/endless")
        assert client.head() == 200
        assert client.chunk() == b"tick\n"
    assert rig.tells() == "the stream ended\n"
    rig.count(Field.IN_FLIGHT, 0)
