"""Where the two servers differ, and mean to: docs/servers.md says why."""

import json
import socket
import ssl
from typing import Any, Final

import pytest
import trustme
from websockets.frames import Opcode

from tests.http.parity.place import Place, Places
from tests.http.parity.test_answers import raw as answer
from tests.http.parity.test_websockets import HANDSHAKE, raw
from tests.worker.rig import LIMIT, Client, is_ready

ANSWERED: Final = 200


def status(place: Place, data: bytes) -> int:
    """What a request is answered; 0 if the connection ends without an answer."""
    with place.connect() as client:
        client.send(data)
        if not client.sock.recv(1, 2):  # MSG_PEEK
            return 0
        return client.head()


def expect(server: str, *, uvicorn: object, tercio: object) -> object:
    return {"uvicorn": uvicorn, "tercio": tercio}[server]


# Requests


@pytest.mark.parametrize(
    ("data", "tercio"),
    [
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /hello#fragment HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /hello\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n", 417),
        (b"GET /hello?%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 9000), 414),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"x: y\r\n" * 101), 431),
    ],
)
def test_ambiguous_and_excessive_requests_are_refused(
    place: Place, server: str, data: bytes, tercio: int
) -> None:
    assert status(place, data) == expect(server, uvicorn=ANSWERED, tercio=tercio)


def test_methods_of_other_protocols_are_not_implemented(place: Place, server: str) -> None:
    found = status(place, b"SOURCE /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    assert found == expect(server, uvicorn=ANSWERED, tercio=501)


def test_space_behind_a_value_is_not_part_of_it(place: Place, server: str) -> None:
    with place.connect() as client:
        client.ask("/seen", "X-Space: a \t")
        headers = dict(json.loads(client.answer()[1])["headers"])
    assert headers["x-space"] == expect(server, uvicorn="a \t", tercio="a")


@pytest.mark.parametrize(
    ("value", "uvicorn", "tercio"),
    [
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, ::ffff:127.0.0.1", "::ffff:127.0.0.1", "6.6.6.6"),
        ("6.6.6.6, [127.0.0.1]", "6.6.6.6", "[127.0.0.1]"),
        ("6.6.6.6, 127.0.0.1:65536", "6.6.6.6", "127.0.0.1:65536"),
    ],
)
def test_forwarded_addresses_are_read_strictly(
    place: Place, server: str, value: str, uvicorn: str, tercio: str
) -> None:
    client = json.loads(place.get("/seen", f"X-Forwarded-For: {value}"))["client"]
    assert client == [expect(server, uvicorn=uvicorn, tercio=tercio), 0]


def test_a_unix_socket_can_be_trusted_by_its_path(
    places: Places, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("u") / "s")
    place = places.of(server, unix=path, forwarded_allow_ips=path)
    client = json.loads(place.get("/seen", "X-Forwarded-For: 1.2.3.4"))["client"]
    assert client == expect(server, uvicorn=None, tercio=["1.2.3.4", 0])


def test_a_list_of_schemes_is_several_headers(place: Place, server: str) -> None:
    scope = json.loads(place.get("/seen", "X-Forwarded-Proto: http, https"))
    assert scope["scheme"] == expect(server, uvicorn="http", tercio="https")


def test_an_early_hint_can_be_sent(place: Place, server: str) -> None:
    with place.connect() as client:
        client.ask("/early-hints")
        known = expect(server, uvicorn=False, tercio=True)
        if known:
            assert client.head() == 103
            assert client.headers["link"] == "</style.css>; rel=preload"
        assert client.answer() == (200, str(known).encode())


def test_an_application_learns_who_its_client_is_by_tls(
    places: Places, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = trustme.CA()
    directory = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    files = {
        "ssl_certfile": issued.cert_chain_pems[0],
        "ssl_keyfile": issued.private_key_pem,
        "ssl_ca_certs": authority.cert_pem,
    }
    options: dict[str, Any] = {"ssl_cert_reqs": 2}
    for name, blob in files.items():
        options[name] = str(directory / name)
        blob.write_to_path(options[name])
    place = places.of(server, **options)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert("client.test", common_name="Somebody").configure_cert(context)
    plain = socket.create_connection(place.rig.address, LIMIT)
    secure = context.wrap_socket(plain, server_hostname="127.0.0.1")
    with Client(place.rig.address, secure) as client:
        client.ask("/tls")
        told = json.loads(client.answer()[1]) or {"client_cert_name": None, "tls_version": None}
    wanted = expect(server, uvicorn=None, tercio="CN=Somebody,OU=")
    assert str(told["client_cert_name"]).startswith(str(wanted))
    assert told["tls_version"] == expect(server, uvicorn=None, tercio=0x0304)


# Answers


def test_the_server_names_itself(place: Place, server: str) -> None:
    with place.connect() as client:
        client.ask("/hello")
        client.answer()
        assert client.headers["server"] == server


def test_http_1_0_gets_no_chunks(place: Place, server: str) -> None:
    _, _, body = answer(place, "/chunks", version="1.0").partition(b"\r\n\r\n")
    chunked = b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
    assert body == expect(server, uvicorn=chunked, tercio=b"onethree")


@pytest.mark.parametrize("path", ["/injecting", "/shorter"])
def test_what_is_refused_before_a_byte_was_sent_is_answered_500(
    place: Place, server: str, path: str
) -> None:
    data = answer(place, path)
    assert data.startswith(b"HTTP/1.1 500 ") == expect(server, uvicorn=False, tercio=True)
    assert b"set-cookie" not in data
    place.told("RuntimeError")


# Who lets wait


def is_left_alone(client: Client) -> bool:
    """Whether nothing happens for a while. One who is slow only says so more often."""
    return not is_ready(client.sock, 1.5)


QUICK: Final[dict[str, Any]] = {
    "timeout_keep_alive": 0.25,
    "timeout_head": 0.3,
    "limit_body_grace": 0.3,
}


def test_who_says_nothing_is_not_kept(places: Places, server: str) -> None:
    with places.of(server, **QUICK).connect() as client:
        if expect(server, uvicorn=True, tercio=False):
            assert is_left_alone(client)
        else:
            assert client.is_closed()


@pytest.mark.parametrize(
    "begun",
    [b"GET / HT", b"POST /messages HTTP/1.1\r\nHost: rig\r\nContent-Length: 9\r\n\r\nx"],
    ids=["head", "body"],
)
def test_who_does_not_finish_a_request_is_not_waited_for(
    places: Places, server: str, begun: bytes
) -> None:
    with places.of(server, **QUICK).connect() as client:
        client.send(begun)
        if expect(server, uvicorn=True, tercio=False):
            assert is_left_alone(client)
        else:
            assert client.answer()[0] == 408
            assert client.is_closed()


# WebSockets


def test_another_version_is_answered_426(place: Place, server: str) -> None:
    lines = [line.replace("13", "12") for line in HANDSHAKE]
    with place.connect() as client:
        client.ask("/ws-echo", *lines)
        assert client.head() == expect(server, uvicorn=400, tercio=426)
        wanted = expect(server, uvicorn=None, tercio="13")
        assert client.headers.get("sec-websocket-version") == wanted


def test_a_connection_that_is_lost_is_closed_abnormally(place: Place, server: str) -> None:
    with raw(place) as client:
        client.upgrade("/ws-end")
    place.told([expect(server, uvicorn=1005, tercio=1006), ""])


@pytest.mark.parametrize(("path", "code"), [("/ws-fails-after", 1011), ("/ws-returns-after", 1000)])
def test_an_application_that_ends_says_goodbye(
    place: Place, server: str, path: str, code: int
) -> None:
    with raw(place) as client:
        client.upgrade(path)
        if expect(server, uvicorn=False, tercio=True):
            assert client.close_code() == code
            client.frame(Opcode.CLOSE, code.to_bytes(2, "big"))
        assert client.is_closed()
