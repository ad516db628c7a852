"""The cookie's attributes, and what of it is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.errors import ConfigError
from tercio.sessions import SessionCookie
from tercio.sessions.middleware import with_vary, without_caching

ID = "x" * 43


def attributes(line: bytes) -> tuple[str, set[str]]:
    first, *rest = line.decode().split("; ")
    return first, set(rest)


def test_over_tls_no_other_host_can_plant_it() -> None:
    pair, rest = attributes(SessionCookie().write(ID, 60, is_tls=True))
    assert pair == f"__Host-session={ID}"
    assert rest == {"Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=60", "Secure"}


def test_without_tls_it_works_too() -> None:
    pair, rest = attributes(SessionCookie().write(ID, 60, is_tls=False))
    assert pair == f"session={ID}"
    assert "Secure" not in rest
    assert "HttpOnly" in rest


def test_behind_a_proxy_that_does_not_say_so_it_can_be_for_tls_only() -> None:
    pair, rest = attributes(SessionCookie(secure=True).write(ID, 60, is_tls=False))
    assert pair.startswith("__Host-")
    assert "Secure" in rest


def test_with_a_domain_or_a_path_the_prefix_is_the_one_that_is_allowed() -> None:
    made = SessionCookie("sid", domain="example.org", persistent=False, partitioned=True)
    pair, rest = attributes(made.write(ID, 60, is_tls=True))
    assert pair == f"__Secure-sid={ID}"
    assert rest == {
        "Path=/", "HttpOnly", "SameSite=Lax", "Secure", "Domain=example.org", "Partitioned",
    }  # fmt: skip
    assert SessionCookie(path="/a").write(ID, 1, is_tls=True).startswith(b"__Secure-session=")
    assert SessionCookie("__Host-a").write(ID, 1, is_tls=True).startswith(b"__Host-a=")


@pytest.mark.parametrize(
    "options", [{"name": "__Secure-a"}, {"same_site": "none"}, {"partitioned": True}]
)
def test_what_browsers_take_over_tls_only_is_secure(options: dict[str, object]) -> None:
    cookie = SessionCookie(**options)  # type: ignore[arg-type]
    assert b"; Secure" in cookie.write(ID, 60, is_tls=False)


def test_to_remove_it_names_the_same_place() -> None:
    _, rest = attributes(SessionCookie(path="/a", domain="b.c").remove(is_tls=True))
    assert {"Path=/a", "Domain=b.c", "Max-Age=0", "Secure"} <= rest


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (f"session={ID}", ID),
        (f"a=b; session={ID};c=d", ID),
        (f'session="{ID}"', ID),
        (f"xsession={ID}", None),
        (f"session={ID}x", None),
        (f"session={ID[:-1]}", None),
        ("session=", None),
        ("session", None),
        (f"session={ID[:-1]}/", None),
        (f"session=short; session={ID}", ID),
        (f"__Host-session={ID}", None),
    ],
)
def test_only_what_could_be_an_id_is_looked_up(line: str, id: str | None) -> None:
    assert SessionCookie().read([(b"cookie", line.encode())], is_tls=False) == id


def test_over_tls_a_cookie_without_the_prefix_counts_for_nothing() -> None:
    headers = [(b"cookie", f"session={ID}".encode())]
    assert SessionCookie().read(headers, is_tls=True) is None


@given(st.binary(max_size=200))
def test_no_cookie_is_too_strange(line: bytes) -> None:
    found = SessionCookie().read([(b"cookie", b"session=" + line)], is_tls=False)
    assert found is None or len(found) == 43


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a;b"},
        {"path": "a"},
        {"path": "/a; Secure"},
        {"domain": ""},
        {"domain": "a;b"},
        {"same_site": "yes"},
        {"same_site": "none", "secure": False},
        {"partitioned": True, "secure": False},
        {"name": "__Secure-a", "secure": False},
        {"name": "__Host-a", "path": "/a"},
        {"name": "__Host-a", "domain": "a.b"},
    ],
)
def test_what_would_be_a_bad_cookie_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="session cookie"):
        SessionCookie(**options)  # type: ignore[arg-type]


def test_headers_about_caches_are_completed_not_repeated() -> None:
    assert with_vary([]) == [(b"vary", b"Cookie")]
    assert with_vary([(b"Vary", b"Accept, cookie")]) == [(b"Vary", b"Accept, cookie")]
    assert with_vary([(b"vary", b"*")]) == [(b"vary", b"*")]
    assert without_caching([(b"cache-control", b"public, max-age=60"), (b"a", b"b")]) == [
        (b"a", b"b"),
        (b"cache-control", b"no-store"),
    ]
    private = [(b"cache-control", b"private, max-age=60")]
    assert without_caching(private) == private
