"""Heads, lines and trailers that are too large, and those that are just not."""

from tests.http.malformed.case import Case, chunked, fields, line, refused, served

# Some way from the limits of 8 KiB, 64 KiB and 100: what exactly counts is for other tests.
_LINE = 8 * 1024
_HEAD = 64 * 1024


def _many(count: int) -> bytes:
    return fields(*(b"X-%d: v" % index for index in range(count)))


SIZES: tuple[Case, ...] = (
    served(
        "a long target",
        line(b"GET /" + b"x" * (_LINE - 100) + b" HTTP/1.1"),
        path="/" + "x" * (_LINE - 100),
    ),
    served(
        "a long query",
        line(b"GET /case?" + b"x" * (_LINE - 100) + b" HTTP/1.1"),
        query=b"x" * (_LINE - 100),
    ),
    refused("a target that is too long", line(b"GET /" + b"x" * _LINE + b" HTTP/1.1"), 414),
    refused("a query that is too long", line(b"GET /?" + b"x" * _LINE + b" HTTP/1.1"), 414),
    refused(
        "a target that is longer than a head", line(b"GET /" + b"x" * 2 * _HEAD + b" HTTP/1.1"), 414
    ),
    refused("a target without end", b"GET /" + b"x" * 2 * _HEAD, 414),
    served(
        "a long value", fields(b"X: " + b"x" * (_HEAD - 200)), header=(b"x", b"x" * (_HEAD - 200))
    ),
    refused("a value that is just too long", fields(b"X: " + b"x" * _HEAD), 431),
    refused("a name that is just too long", fields(b"X" * _HEAD + b": v"), 431),
    refused("a value that is too long", fields(b"X: " + b"x" * 2 * _HEAD), 431),
    # What follows is in the head, too, and names a second host.
    refused(
        "a value without end", b"GET /case HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 3 * _HEAD, 431, 400
    ),
    served("a long name", fields(b"X" * 30_000 + b": v"), header=(b"x" * 30_000, b"v")),
    refused("a name that is too long", fields(b"X" * 2 * _HEAD + b": v"), 431),
    refused(
        "a name without end", b"GET /case HTTP/1.1\r\nHost: h\r\n" + b"X" * 3 * _HEAD, 431, 400
    ),
    served("99 fields and a host", _many(99)),
    refused("100 fields and a host", _many(100), 431),
    refused("a thousand fields", _many(1000), 431),
    refused("fields that are too large together", fields(*[b"X: " + b"x" * 1000] * 70), 431),
    served("99 trailers", chunked(b"0\r\n" + b"X: 1\r\n" * 99 + b"\r\n"), "POST"),
    refused("101 trailers", chunked(b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n"), 431),
    refused("a trailer that is too long", chunked(b"0\r\nX: " + b"x" * _HEAD + b"\r\n\r\n"), 431),
    refused("a trailer without end", chunked(b"0\r\nX: " + b"x" * 3 * _HEAD), 431),
    refused(
        "an extension that is too long",
        chunked(b"5;x=" + b"x" * _HEAD + b"\r\nhello\r\n"),
        400,
        413,
        431,
    ),
    refused("an extension without end", chunked(b"5;x=" + b"x" * 3 * _HEAD), 400, 413, 431),
    refused(
        "extensions that are too large together",
        chunked((b"1;" + b"x" * 500 + b"\r\na\r\n") * 4000 + b"0\r\n\r\n"),
        400,
        413,
        431,
    ),
)
