"""gunicorn's access format: the same text that gunicorn makes of it, and harmless."""

import base64
import os
import re
from typing import Any

import pytest

from tercio.logs import Account, AtomsFormatter
from tercio.options import subjects
from tercio.options.kinds import Refused

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""gunicorn's own."""


def account(**more: Any) -> Account:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/käse",
        "query_string": b"a=1",
        "http_version": "1.1",
        "scheme": "https",
        "client": ("10.0.0.1", 5000),
        "server": ("10.0.0.2", 443),
        "headers": [
            (b"authorization", b"Basic dW1hOnNlY3JldA=="),
            (b"referer", b"http://x/"),
            (b"user-agent", b'curl "8"'),
            (b"x-id", b"abc"),
        ],
    }
    facts: dict[str, Any] = {"headers": [(b"X-Made", b"1")], "sent": 12, "seconds": 1.2345678}
    return Account(scope | more, 201, **facts, time=0.0)


def line(text: str, **more: Any) -> str:
    return AtomsFormatter(text).line(account(**more))


def test_gunicorns_own_format() -> None:
    assert re.fullmatch(
        r"10\.0\.0\.1 - uma \[\d\d/\w{3}/19\d\d:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"POST /k%C3%A4se\?a=1 HTTP/1\.1" 201 12 "http://x/" "curl \\"8\\""',
        line(DEFAULT),
    )


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("%(m)s", "POST"), ("%(U)s", "/k%C3%A4se"), ("%(q)s", "a=1"), ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "201"), ("%(B)s", "12"), ("%(T)s", "1"), ("%(M)s", "1234"), ("%(D)s", "1234567"),
        ("%(L)s", "1.234568"), ("%(p)s", "<PID>"), ("%({x-id}i)s", "abc"),
        ("%({X-Missing}i)s", "-"), ("%({x-made}o)s", "1"), ("%({REMOTE_PORT}e)s", "5000"),
        ("%({wsgi.url_scheme}e)s", "https"), ("%({HTTP_X_ID}e)s", "abc"), ("%({HOME}e)s", "-"),
        ("100%% %(s)s", "100% 201"),
    ],
)  # fmt: skip
def test_each_atom(atom: str, expected: str) -> None:
    assert subjects.access_format().parse(atom) == atom
    assert line(atom) == expected.replace("PID", str(os.getpid()))


def test_what_is_not_known_is_a_dash() -> None:
    text = '%(h)s %(u)s "%(f)s" %(q)s'
    assert line(text, client=None, headers=[], query_string=b"") == '- - "-" -'
    bare = AtomsFormatter("%(b)s").line(Account(account().scope, 204))
    assert bare == "-"


def test_nothing_that_a_client_chose_ends_the_line_or_a_quoted_part() -> None:
    headers = [(b"user-agent", b'x" 200 "\r\nfake\x1b[2J\xe2\x80\xa8')]
    made = line('"%(a)s" %(r)s', headers=headers, method="G\nT", path="/\x1b\u202e")
    assert made.isprintable() or "\x1b" not in made
    assert "\n" not in made
    assert made.startswith('"x\\" 200 \\"\\r\\nfake\\x1b[2J')


@pytest.mark.parametrize("authorization", [b"Basic", b"Basic !!", b"Basic w6Q", b"Bearer x"])
def test_a_broken_authorization_names_nobody(authorization: bytes) -> None:
    assert line("%(u)s", headers=[(b"authorization", authorization)]) == "-"


@pytest.mark.parametrize("text", ["%(z)s", "%h", "100%", "%({a}x)s", "%(h)d", "a\nb"])
def test_a_format_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        subjects.access_format().parse(text)


def test_backslashes_and_spaces_of_a_client_shift_no_field() -> None:
    headers = [
        (b"authorization", b"Basic " + base64.b64encode(b"bob 200 -:secret")),
        (b"referer", b'x\\" "forged'),
    ]
    made = line('%(u)s "%(f)s" "%(a)s"', headers=headers)
    assert made == r'bob%20200%20- "x\\\" \"forged" "-"'
