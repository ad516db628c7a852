import pytest

from tercio.engines.redis.url import Address
from tercio.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", Address(hosts=(("h", 6379),))),
        ("redis://[::1]:7/3", Address(hosts=(("::1", 7),), db=3)),
        ("redis://:p%40ss@h:1", Address(hosts=(("h", 1),), password="p@ss")),
        ("redis://u:a:b@h?db=2", Address(hosts=(("h", 6379),), user="u", password="a:b", db=2)),
        ("redis://h?timeout=250ms", Address(hosts=(("h", 6379),), timeout=0.25)),
        ("unix:///a/b?db=1", Address(path="/a/b", db=1)),
        ("unix://:p@/a", Address(path="/a", password="p")),
        (
            "rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/ca",
            Address(hosts=(("h", 6379),), tls=True, ssl_cert_reqs="none", ssl_ca_certs="/ca"),
        ),
        (
            "redis+sentinel://a:1,b/main/4?sentinel_password=x",
            Address(hosts=(("a", 1), ("b", 26379)), service="main", db=4, sentinel_password="x"),
        ),
    ],
)
def test_an_address_is_read(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("http://h", "redis://", "redis://h:0", "redis://h:99999", "redis://a,b", "redis://h/x"),
        *("unix://relative", "redis+sentinel://h", "redis://h?timeout=0", "redis://h?what=1"),
        *("redis://h/1/2", "redis://h?ssl_cert_reqs=maybe", "redis://h?max_reply=1"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--redis is no address of a server: "):
        Address.parse(url)


def test_no_message_shows_a_password() -> None:
    secret = "hunter2"
    for url in (f"redis://u:{secret}@h:x", f"redis://:{secret}?@h", f"redis://:a/{secret}@h/x"):
        with pytest.raises(ConfigError) as refused:
            Address.parse(url)
        assert secret not in str(refused.value)
    address = Address.parse(f"redis://u:{secret}@h?sentinel_password={secret}")
    assert secret not in f"{address} {address!r}"
    assert str(address) == "redis://h:6379"
