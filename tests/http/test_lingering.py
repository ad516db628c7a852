"""Whoever is refused or answered early can read why, however much it goes on sending."""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.http.answers import Answer, answers, final
from tests.http.harness import LIMIT, Served
from tests.http.pages import MIB, Pages
from tests.worker.rig import Client, until

pytestmark = pytest.mark.timeout(int(os.environ.get("TERCIO_HTTP_LIMIT", 120)))

REPEATS = int(os.environ.get("TERCIO_HTTP_REPEATS", 20))
"""`TERCIO_HTTP_REPEATS=100 TERCIO_HTTP_LIMIT=600` is what is promised."""

SIZE = 10 * MIB
LONG: dict[str, Any] = {"linger": LIMIT} if REPEATS < 100 else {}
"""On a machine that is slow enough, ten megabytes take longer than a second."""

CURL = shutil.which("curl")


def raw(address: tuple[str, int], path: str, file: Path) -> Answer:
    """A client that writes everything before it reads, and tries once."""
    with Client(address) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n"
        client.send(head.encode())
        client.send(file.read_bytes())
        return only(client)


def expecting(address: tuple[str, int], path: str, file: Path) -> Answer:
    """A client that says that it waits for a 100, and does not."""
    with Client(address) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n"
        client.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
        client.send(file.read_bytes())
        return only(client)


def chunking(address: tuple[str, int], path: str, file: Path) -> Answer:
    """A client that sends chunks."""
    with Client(address) as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: h\r\n".encode())
        client.send(b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(b"%x\r\n" % SIZE + file.read_bytes() + b"\r\n0\r\n\r\n")
        return only(client)


def standard(address: tuple[str, int], path: str, file: Path) -> Answer:
    """Python's own client."""
    connection = http.client.HTTPConnection(*address, timeout=LIMIT)
    try:
        connection.request("POST", path, body=file.read_bytes())
        response = connection.getresponse()
        return Answer(response.status, {}, response.read())
    finally:
        connection.close()


def curl(address: tuple[str, int], path: str, file: Path) -> Answer:
    """curl without its Expect: it sends as long as it can."""
    return _curl(address, path, file, "-H", "Expect:")


def curl_expecting(address: tuple[str, int], path: str, file: Path) -> Answer:
    """curl as it is: it asks whether to send as much."""
    return _curl(address, path, file, "-H", "Expect: 100-continue")


def _curl(address: tuple[str, int], path: str, file: Path, *options: str) -> Answer:
    assert CURL is not None
    url = "http://{}:{}{}".format(*address, path)
    command = [CURL, "-s", "-S", "--noproxy", "*", "--max-time", str(LIMIT), *options]
    done = subprocess.run(
        [*command, "-w", "\n%{http_code}", "--data-binary", f"@{file}", url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    body, _, code = done.stdout.rpartition(b"\n")
    assert done.returncode == 0, done.stderr
    return Answer(int(code), {}, body)


CLIENTS = [raw, expecting, chunking, standard, *([curl, curl_expecting] if CURL else [])]


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    file = tmp_path / "upload"
    file.write_bytes(bytes(SIZE))
    return file


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
@pytest.mark.parametrize("path", ["/refuse", "/refuse-slowly"])
def test_an_early_answer_to_a_large_upload_is_read(
    loop: str, path: str, client: Callable[[tuple[str, int], str, Path], Answer], upload: Path
) -> None:
    with Served(Pages(), loop=loop, **LONG) as served:
        for _ in range(REPEATS):
            answer = client(served.address, path, upload)
            assert (answer.status, answer.body) == (413, b"too large")
        until(lambda: served.counts.connections == 0)


def only(client: Client) -> Answer:
    """The first answer; the connection may stay."""
    status, body = client.answer()
    return Answer(status, client.headers, body)


def last(sock: socket.socket) -> Answer:
    """The only final answer until the end of a connection."""
    received = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    (answer,) = final(received)
    return answer


REFUSED = {
    "a head that is too large": (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 3 * MIB, 431),
    "a line that is too long": (b"GET /" + b"x" * 3 * MIB, 414),
    "a body of two ends": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\nTransfer-Encoding: chunked"
        b"\r\n\r\n" + bytes(4 * MIB),
        400,
    ),
    "a bad chunk in the middle": (
        b"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\nX\r\n"
        + bytes(4 * MIB),
        400,
    ),
    "no request": (bytes(4 * MIB), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_read_by_whoever_goes_on_sending(loop: str, name: str) -> None:
    data, status = REFUSED[name]
    with Served(Pages(), loop=loop, **LONG) as served:
        for _ in range(REPEATS):
            with served.connect() as sock:
                sock.sendall(data)
                answer = last(sock)
                assert answer.status in (status, 501 if name == "no request" else status)
                assert answer.closes
        until(lambda: served.counts.connections == 0)


def test_an_early_answer_is_read_over_tls(loop: str, upload: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    options = LONG | {"ssl_certfile": str(tmp_path / "pair.pem")}
    with Served(Pages(), loop=loop, **options) as served:
        for path, data, status in (
            ("/refuse", upload.read_bytes(), 413),
            ("/body", b"nonsense" * MIB, 400),
        ):
            for _ in range(min(REPEATS, 5)):
                sock = trusting.wrap_socket(served.connect(), server_hostname="localhost")
                with Client(served.address, sock) as client:
                    head = f"POST {path} HTTP/1.1\r\nHost: h\r\n"
                    if status == 413:
                        client.send(f"{head}Content-Length: {len(data)}\r\n\r\n".encode())
                    else:
                        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
                    client.send(data)
                    assert only(client).status == status
        until(lambda: served.counts.connections == 0)


def test_an_answer_to_a_body_that_was_not_read_and_is_small_keeps_or_ends_in_order(
    loop: str,
) -> None:
    """What follows an unread body is served or not; the body itself is never a request."""
    inner = b"GET /inner HTTP/1.1\r\nHost: h\r\n\r\n"
    post = b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(inner)
    after = b"GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    pages = Pages()
    with Served(pages, loop=loop, **LONG) as served, served.connect() as sock:
        sock.sendall(post + inner + after)
        found = answers(b"".join(iter(lambda: sock.recv(1 << 16), b"")))
        assert [answer.status for answer in found] in ([413], [413, 200])
        until(lambda: pages.ended == len(found))


def test_lingering_ends_with_its_time(loop: str) -> None:
    with Served(Pages(), loop=loop, linger=0.3) as served, served.connect() as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        until(lambda: served.counts.connections == 0)
        assert last(sock).status in (400, 501)


def test_lingering_ends_with_its_size(loop: str) -> None:
    with Served(Pages(), loop=loop, linger=1.0, linger_size=MIB) as served:
        with served.connect() as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            with pytest.raises(ConnectionError):
                sock.sendall(bytes(200 * MIB))
        until(lambda: served.counts.connections == 0)


def test_who_lingers_holds_up_nobody(loop: str) -> None:
    """Neither other clients nor the end of the server wait for those who linger."""
    with Served(Pages(), loop=loop, linger=LIMIT) as served:
        lingering = [served.connect() for _ in range(20)]
        for sock in lingering:
            sock.sendall(b"nonsense\r\n\r\n")
        for sock in lingering:
            assert last(sock).status in (400, 501)
        with Client(served.address) as client:
            client.ask("/")
            assert client.answer()[0] == 200
        before = time.monotonic()
        served.stop()
        assert time.monotonic() - before < LIMIT / 2
        for sock in lingering:
            sock.close()
