"""The Host field: exactly one, and a host."""

from tests.http.malformed.case import Case, line, refused, served


def _host(value: bytes) -> bytes:
    return b"GET /case HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


def _seen(value: bytes) -> tuple[bytes, bytes]:
    return (b"host", value)


HOSTS: tuple[Case, ...] = (
    refused("no host", b"GET /case HTTP/1.1\r\n\r\n"),
    refused("no host but other fields", b"GET /case HTTP/1.1\r\nX-Host: h\r\n\r\n"),
    refused("an absolute target and no host", b"GET http://h/case HTTP/1.1\r\n\r\n"),
    refused("two hosts", b"GET /case HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n"),
    refused("the same host twice", b"GET /case HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    refused("two hosts in two spellings", b"GET /case HTTP/1.1\r\nHost: h\r\nhOST: h\r\n\r\n"),
    refused("two hosts in version 1.0", b"GET /case HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n"),
    refused("hosts in a list", _host(b"h, i")),
    refused("a host with a space", _host(b"h i")),
    refused("a host with a tab", _host(b"h\ti")),
    refused("a host with a path", _host(b"h/case")),
    refused("a host with a query", _host(b"h?q")),
    refused("a host with a fragment", _host(b"h#part")),
    refused("a host with a user", _host(b"user@h")),
    refused("a host with a backslash", _host(b"h\\case")),
    refused("a host with a scheme", _host(b"http://h")),
    refused("a host with two ports", _host(b"h:1:2")),
    refused("a host with a word for a port", _host(b"h:port")),
    refused("a host with a sign before its port", _host(b"h:+80")),
    refused("a host with an open bracket", _host(b"[::1")),
    refused("a host with a closed bracket", _host(b"::1]")),
    refused("a host that is an address without brackets", _host(b"::1")),
    refused("a host with text after the bracket", _host(b"[::1]x")),
    refused("a host that is not ASCII", _host("münchen.example".encode())),
    refused("a host with a quote", _host(b'h"')),
    refused("a host with an angle bracket", _host(b"<h>")),
    refused("a host with a delete byte", _host(b"h\x7f")),
    refused("a space before the colon of the host", b"GET /case HTTP/1.1\r\nHost : h\r\n\r\n"),
    served("a host with a port", _host(b"h.example:8000"), header=_seen(b"h.example:8000")),
    served("a host with an empty port", _host(b"h:"), header=_seen(b"h:")),
    served("a host that is an IPv6 address", _host(b"[::1]:80"), header=_seen(b"[::1]:80")),
    served("a host with an underscore", _host(b"my_host"), header=_seen(b"my_host")),
    served("a host with white space around", _host(b" \th\t "), header=_seen(b"h")),
    served("a host in upper case", b"GET /case HTTP/1.1\r\nHOST: H\r\n\r\n", header=_seen(b"H")),
    served(
        "a host that is not the target's",
        line(b"GET http://other/case HTTP/1.1"),
        header=_seen(b"h"),
    ),
)
