"""However a stream of valid requests is cut, the application and the client see the same."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.answers import final
from tests.http.place import Place, place

pytestmark = pytest.mark.timeout(int(os.environ.get("TERCIO_HTTP_LIMIT", 120)))

EXAMPLES = int(os.environ.get("TERCIO_HTTP_EXAMPLES", 150))
"""`TERCIO_HTTP_EXAMPLES=20000 TERCIO_HTTP_LIMIT=7200` looks for longer."""

TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
OURS = {"host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"}


@dataclass(frozen=True)
class Asked:
    """A valid request and what it says."""

    data: bytes
    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as server:
        yield server


names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name.lower() not in OURS)
visible = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
values = st.lists(
    st.lists(st.sampled_from(visible), min_size=1, max_size=8).map(bytes), max_size=3
).map(b" ".join)
white = st.sampled_from([b"", b" ", b"\t", b"  \t"])
targets = st.one_of(
    st.text("abc/.-_~%41:@!$&'()*+,;=", max_size=20).map(lambda text: b"/" + text.encode()),
    st.text("ab=&?/", max_size=10).map(lambda text: b"/p?" + text.encode()),
)
extensions = st.sampled_from([b"", b";x", b";x=y", b';x="y z"', b";a;b=c"])
line_ends = st.sampled_from([b"", b"\r\n"])


@st.composite
def fields(draw: st.DrawFn) -> list[tuple[bytes, bytes, bytes]]:
    """Names, values, and their lines."""
    found = []
    for name in draw(st.lists(names.map(str.encode), max_size=4)):
        value = draw(values)
        line = name + b":" + draw(white) + value + draw(white) + b"\r\n"
        found.append((name.lower(), value, line))
    return found


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks, with extensions and trailers."""
    data = b""
    while body:
        size = draw(st.integers(1, len(body)))
        digits = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"000%x"])) % size
        data += digits + draw(extensions) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    last = draw(st.sampled_from([b"0", b"00"])) + draw(extensions) + b"\r\n"
    return data + last + b"".join(line for *_, line in draw(fields())) + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]))
    target = draw(targets)
    others = draw(fields())
    lines = [line for *_, line in others]
    headers = [(name, value) for name, value, _ in others]
    body = draw(st.binary(max_size=60))
    ours: list[tuple[bytes, bytes]] = [(b"Host", b"h")]
    framing = draw(st.sampled_from(["none", "length", "chunks"]))
    framed = b""
    if framing == "none":
        body = b""
    elif framing == "length":
        ours.append((b"Content-Length", b"%d" % len(body)))
        framed = body
    else:
        ours.append((b"Transfer-Encoding", b"chunked"))
        framed = draw(chunked(body))
    if draw(st.booleans()):
        ours.append((b"Expect", b"100-continue"))
    for name, value in ours:
        at = draw(st.integers(0, len(lines)))
        lines.insert(at, name + b": " + value + b"\r\n")
        headers.insert(at, (name.lower(), value))
    first = method.encode() + b" " + target + b" HTTP/1.1\r\n"
    data = draw(line_ends) + first + b"".join(lines) + b"\r\n" + framed
    return Asked(data, method, target, headers, body)


@settings(
    max_examples=EXAMPLES,
    deadline=None,  # a slow machine makes a test longer, never red
    derandomize=EXAMPLES == 150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(asked=st.lists(requests(), min_size=1, max_size=4), data=st.data())
def test_no_split_of_a_valid_stream_is_seen(
    server: Place, asked: list[Asked], data: st.DataObject
) -> None:
    stream = b"".join(each.data for each in asked)
    ends = data.draw(st.lists(st.integers(1, max(len(stream) - 1, 1)), max_size=12, unique=True))
    bounds = [0, *sorted(ends), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds) if a < b]
    whole, whole_seen = server.exchange([stream], finish=True)
    parts, parts_seen = server.exchange(pieces, finish=True)
    for seen in (whole_seen, parts_seen):
        assert [each.method for each in seen] == [each.method for each in asked]
        assert [(each.raw_path, each.query) for each in seen] == [
            (path, query) for path, _, query in (each.target.partition(b"?") for each in asked)
        ]
        assert [each.headers for each in seen] == [each.headers for each in asked]
        assert [bytes(each.body) for each in seen] == [each.body for each in asked]
        assert all(each.is_whole for each in seen)
    assert undated(whole) == undated(parts)
    found = final(whole, [each.method for each in asked])
    assert [answer.status for answer in found] == [200] * len(asked)


def undated(answers: bytes) -> bytes:
    """Without what the clock decides, and without a 100, which a body that is here needs not."""
    answers = answers.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return re.sub(rb"\r\ndate: [^\r]*", b"", answers)
