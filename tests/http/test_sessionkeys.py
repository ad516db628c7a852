"""The key of a session is found where --sticky says, and what is not there is no error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.http.peek import peek
from tercio.http.sessionkeys import SessionKeys

REQUEST = (
    b"POST /chat?room=a%20b&sid=4711&sid=no&empty= HTTP/1.1\r\n"
    b"Host: here\r\n"
    b"X-Session:  abc \r\n"
    b"Cookie: other=1; session=c00kie; session=second\r\n"
    b'cookie: quoted="in quotes"\r\n'
    b"Content-Length: 5\r\n"
    b"\r\n"
    b"hello"
)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("header:x-session", b"abc"),
        ("header:X-SESSION", b"abc"),
        ("header:missing", None),
        ("query:sid", b"4711"),
        ("query:room", b"a b"),
        ("query:empty", None),
        ("query:missing", None),
        ("cookie:session", b"c00kie"),
        ("cookie:quoted", b"in quotes"),
        ("cookie:Session", None),
        ("ip", b"ip\x0010.0.0.7"),
    ],
)
def test_a_key_is_found_where_it_is(source: str, key: bytes | None) -> None:
    head = peek(REQUEST)
    assert head is not None
    assert SessionKeys([source]).find(head, "10.0.0.7") == key


def test_the_first_source_that_a_request_has_counts() -> None:
    head = peek(REQUEST)
    assert head is not None
    keys = SessionKeys(["query:missing", "cookie:session", "ip"])
    assert keys.find(head, "10.0.0.7") == b"c00kie"
    assert keys.needs_address
    assert SessionKeys(["query:missing", "ip"]).find(head, None) is None


@pytest.mark.parametrize("length", range(REQUEST.index(b"\r\n\r\n") + 3))
def test_an_incomplete_head_is_none(length: int) -> None:
    assert peek(REQUEST[:length]) is None


def test_what_comes_behind_the_head_does_not_matter() -> None:
    end = REQUEST.index(b"\r\n\r\n") + 4
    whole = peek(REQUEST)
    assert whole == peek(REQUEST[:end]) == peek(REQUEST[:end] + b"\0garbage\r\n\r\n" * 10)
    assert whole is not None
    assert whole.target == b"/chat?room=a%20b&sid=4711&sid=no&empty="


def test_the_head_of_an_upgrade_is_read_too() -> None:
    head = peek(
        b"GET /ws?sid=7 HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert head is not None
    assert SessionKeys(["query:sid"]).find(head, None) == b"7"


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"\r\n\r\n", b"GET /\n\n"],
)
def test_what_no_server_accepts_has_no_head(data: bytes) -> None:
    assert peek(data) is None


@given(st.binary(max_size=200))
def test_whatever_comes_raises_nothing(data: bytes) -> None:
    peek(data + b"\r\n\r\n")
    peek(b"GET /?" + data + b" HTTP/1.1\r\nHost: x\r\n\r\n")
