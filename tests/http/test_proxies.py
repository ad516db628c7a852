"""Whose word counts about the client and the scheme."""

from typing import Any, NamedTuple

import pytest

from tercio.http.proxies import Proxies

PEER = ("10.0.0.1", 4711)
TRUSTED = "10.0.0.0/8, 192.168.1.7, 2001:db8::/32, ::1, /run/nginx.sock"


def scope(*headers: tuple[str, str], kind: str = "http", scheme: str = "http") -> dict[str, Any]:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": kind, "scheme": scheme, "client": PEER, "headers": encoded}


def client(*lists: str, trusted: str = TRUSTED) -> object:
    """The client that X-Forwarded-For makes of a request, given one or several of them."""
    made = scope(*(("x-forwarded-for", each) for each in lists))
    Proxies(trusted).apply(made)
    return made["client"]


def scheme(*values: str, kind: str = "http", own: str = "http") -> object:
    made = scope(*(("x-forwarded-proto", each) for each in values), kind=kind, scheme=own)
    Proxies(TRUSTED).apply(made)
    return made["scheme"]


# Who is trusted


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [
        ("10.0.0.1", True),
        ("10.255.255.255", True),
        ("11.0.0.1", False),
        ("192.168.1.7", True),
        ("192.168.1.8", False),
        ("::ffff:10.0.0.1", True),  # from a dual-stack socket
        ("::ffff:11.0.0.1", False),
        ("::ffff:a00:1", True),
        ("2001:db8::5", True),
        ("2001:DB8:0::5", True),
        ("2001:db9::5", False),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("fe80::1%eth0", False),
        ("/run/nginx.sock", True),
        ("/run/other.sock", False),
        ("", False),
        (None, False),
        ("localhost", False),
        ("10.0.0.1 ", False),
        ("010.0.0.1", False),
        ("10.1", False),
        ("167772161", False),  # 10.0.0.1 as a number
    ],
)
def test_a_peer_is_trusted_by_its_address(host: str | None, is_trusted: bool) -> None:
    assert Proxies(TRUSTED).trusts(host) is is_trusted


def test_a_star_trusts_everybody() -> None:
    proxies = Proxies("*")
    assert proxies.trusts("1.2.3.4")
    assert proxies.trusts(None)


def test_nobody_is_trusted_by_an_empty_list() -> None:
    proxies = Proxies("")
    assert not proxies.trusts("127.0.0.1")
    assert not proxies.trusts(None)


def test_a_network_of_mapped_addresses_is_one_of_ipv4() -> None:
    proxies = Proxies("::ffff:10.0.0.0/104, ::ffff:1.2.3.4")
    assert proxies.trusts("10.0.0.1")
    assert proxies.trusts("::ffff:10.0.0.1")
    assert proxies.trusts("1.2.3.4")
    assert not proxies.trusts("11.0.0.1")


# The client


class Spoof(NamedTuple):
    lists: tuple[str, ...]
    client: object


SPOOFS = [
    Spoof(("1.2.3.4",), ("1.2.3.4", 0)),
    Spoof(("1.2.3.4:80",), ("1.2.3.4", 80)),
    Spoof(("  1.2.3.4\t",), ("1.2.3.4", 0)),
    Spoof(("6.6.6.6, 1.2.3.4",), ("1.2.3.4", 0)),
    Spoof(("6.6.6.6,1.2.3.4,10.0.0.2",), ("1.2.3.4", 0)),
    Spoof(("6.6.6.6", "1.2.3.4"), ("1.2.3.4", 0)),
    Spoof(("6.6.6.6, 1.2.3.4", "10.0.0.2, 10.0.0.3:99"), ("1.2.3.4", 0)),
    # An address of a proxy's, sent from outside, is left of the client and not looked at.
    Spoof(("10.0.0.9, 1.2.3.4, 10.0.0.2",), ("1.2.3.4", 0)),
    Spoof(("::1", "1.2.3.4"), ("1.2.3.4", 0)),
    # All of them are proxies: the first has asked for itself.
    Spoof(("10.0.0.3, 10.0.0.2",), ("10.0.0.3", 0)),
    Spoof(("10.0.0.3:1, 10.0.0.2",), ("10.0.0.3", 1)),
    # IPv6
    Spoof(("2001:db9::1",), ("2001:db9::1", 0)),
    Spoof(("[2001:db9::1]",), ("2001:db9::1", 0)),
    Spoof(("[2001:db9::1]:443",), ("2001:db9::1", 443)),
    Spoof(("1.2.3.4, [2001:db8::1]:443, 2001:db8::2",), ("1.2.3.4", 0)),
    Spoof(("::ffff:1.2.3.4",), ("1.2.3.4", 0)),
    Spoof(("[::ffff:1.2.3.4]:5",), ("1.2.3.4", 5)),
    Spoof(("1.2.3.4, ::ffff:10.0.0.2",), ("1.2.3.4", 0)),
    Spoof(("6.6.6.6, ::ffff:1.2.3.4",), ("1.2.3.4", 0)),
    # What is no address ends the reading, and is the client by its own name: an application that
    # lets the proxies' addresses in must not see one of them there.
    Spoof(("6.6.6.6, unknown",), ("unknown", 0)),
    Spoof(("6.6.6.6, unknown, 10.0.0.2",), ("unknown", 0)),
    Spoof(("6.6.6.6, _hidden",), ("_hidden", 0)),
    Spoof(("6.6.6.6, unix:",), ("unix:", 0)),
    Spoof(("6.6.6.6, /run/nginx.sock",), ("/run/nginx.sock", 0)),
    Spoof(("6.6.6.6, 10.0.0.2:port",), ("10.0.0.2:port", 0)),
    Spoof(("6.6.6.6, 10.0.0.2:",), ("10.0.0.2:", 0)),
    Spoof(("6.6.6.6, 10.0.0.2:+80",), ("10.0.0.2:+80", 0)),
    Spoof(("6.6.6.6, 10.0.0.2:65536",), ("10.0.0.2:65536", 0)),
    Spoof(("6.6.6.6, 10.0.0.2:8 0",), ("10.0.0.2:8 0", 0)),
    Spoof(("6.6.6.6, 010.0.0.2",), ("010.0.0.2", 0)),
    Spoof(("6.6.6.6, 10.0.0.256",), ("10.0.0.256", 0)),
    Spoof(("6.6.6.6, 10.0.0.2/8",), ("10.0.0.2/8", 0)),
    Spoof(("6.6.6.6, [10.0.0.2]",), ("[10.0.0.2]", 0)),
    Spoof(("6.6.6.6, [::1",), ("[::1", 0)),
    Spoof(("6.6.6.6, ::1]",), ("::1]", 0)),
    Spoof(("6.6.6.6, [::1]80",), ("[::1]80", 0)),
    Spoof(("6.6.6.6, [::1]:",), ("[::1]:", 0)),
    Spoof(("6.6.6.6, 10.0.0.2 10.0.0.3",), ("10.0.0.2 10.0.0.3", 0)),
    Spoof(("6.6.6.6; 10.0.0.2",), ("6.6.6.6; 10.0.0.2", 0)),
    Spoof(('6.6.6.6, "10.0.0.2"',), ('"10.0.0.2"', 0)),
    Spoof(("6.6.6.6, for=10.0.0.2",), ("for=10.0.0.2", 0)),
    Spoof(("6.6.6.6, 10.0.0.\xb2",), ("unknown", 0)),
    Spoof(("6.6.6.6, 10.0.0.2:8\xb2",), ("unknown", 0)),
    Spoof(("6.6.6.6, " + "x" * 253,), ("x" * 253, 0)),
    Spoof(("6.6.6.6, " + "x" * 254,), ("unknown", 0)),
    # Nothing is said: the peer stays.
    Spoof(("",), PEER),
    Spoof((" ",), PEER),
    Spoof((",",), PEER),
    Spoof(("6.6.6.6,",), PEER),
    Spoof(("6.6.6.6", ""), PEER),
    Spoof(("6.6.6.6, , 10.0.0.2",), PEER),
    Spoof((), PEER),
]


@pytest.mark.parametrize("spoof", SPOOFS, ids=lambda spoof: " + ".join(spoof.lists)[:40] or "none")
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(spoof: Spoof) -> None:
    assert client(*spoof.lists) == spoof.client


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (("6.6.6.6, 1.2.3.4",), ("6.6.6.6", 0)),
        (("6.6.6.6:1", "1.2.3.4"), ("6.6.6.6", 1)),
        (("nonsense, 1.2.3.4",), ("nonsense", 0)),
        (("", "1.2.3.4"), PEER),
    ],
)
def test_who_trusts_everybody_believes_the_leftmost(
    lists: tuple[str, ...], expected: object
) -> None:
    assert client(*lists, trusted="*") == expected


MANY = [f"10.1.{number >> 8}.{number & 255}" for number in range(5000)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("," * 65536, PEER),
        ("x" * 65536, ("unknown", 0)),
        ("1.2.3.4, " + "10.0.0.2 " * 7000, ("unknown", 0)),
        # Only proxies can make such a list, and none of them is an outsider.
        (", ".join(["1.2.3.4", *MANY]), (MANY[-100], 0)),
        (", ".join(["1.2.3.4", *MANY[-99:]]), ("1.2.3.4", 0)),
    ],
    ids=["commas", "text", "spaces", "proxies", "fewer proxies"],
)
def test_a_huge_list_is_not_read_to_its_end(value: str, expected: object) -> None:
    assert client(value) == expected


# The scheme


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("https",), "https"),
        (("http",), "http"),
        ((" https\t",), "https"),
        (("wss",), "https"),
        # The last one is the peer's own; what came before may be from outside.
        (("http", "https"), "https"),
        (("https", "http"), "http"),
        (("http, https",), "https"),
        (("https,http",), "http"),
        (("https", "nonsense"), "http"),
        (("",), "http"),
        (("https,",), "http"),
        (("HTTPS",), "http"),
        (("ftp",), "http"),
        (("https://",), "http"),
        (("https http",), "http"),
        (("\xa0https",), "http"),
    ],
)
def test_the_scheme_is_what_the_peer_says(values: tuple[str, ...], expected: str) -> None:
    assert scheme(*values) == expected


def test_what_says_nothing_leaves_the_scheme_as_it_is() -> None:
    assert scheme(own="https") == "https"
    assert scheme("nonsense", own="https") == "https"
    assert scheme("http", own="https") == "http"


@pytest.mark.parametrize(
    ("value", "expected"), [("http", "ws"), ("https", "wss"), ("ws", "ws"), ("wss", "wss")]
)
def test_a_websocket_has_schemes_of_its_own(value: str, expected: str) -> None:
    assert scheme(value, kind="websocket", own="ws") == expected


def test_other_headers_are_left_alone() -> None:
    made = scope(("x-forwarded-host", "evil"), ("forwarded", "for=6.6.6.6"), ("host", "a"))
    before = dict(made)
    Proxies(TRUSTED).apply(made)
    assert made == before
