"""Header fields: names, values, and how they end."""

from tests.http.malformed.case import SMUGGLED, Case, fields, post, refused, served


def _named(name: bytes) -> bytes:
    return fields(name + b": v")


def _valued(value: bytes) -> bytes:
    return fields(b"X: " + value)


FIELDS: tuple[Case, ...] = (
    # Names.
    refused("an empty name", _named(b"")),
    refused("a space before the colon", _named(b"X ")),
    refused("a tab before the colon", _named(b"X\t")),
    refused("a space in a name", _named(b"X Y")),
    refused("a NUL in a name", _named(b"X\0")),
    refused("a control byte in a name", _named(b"X\x01")),
    refused("a vertical tab before a name", _named(b"\x0bX")),
    refused("a delete byte in a name", _named(b"X\x7f")),
    refused("a name that is not ASCII", _named("Größe".encode())),
    refused("a name with a parenthesis", _named(b"X(")),
    refused("a name with a slash", _named(b"X/Y")),
    refused("a name with an at sign", _named(b"X@Y")),
    refused("a name with a bracket", _named(b"[X]")),
    refused("a name with a quote", _named(b'"X"')),
    refused("a name with a comma", _named(b"X,Y")),
    refused("a name with a semicolon", _named(b"X;Y")),
    refused("a name with an equals sign", _named(b"X=Y")),
    refused("a name with a backslash", _named(b"X\\Y")),
    refused("a name with a curly bracket", _named(b"{X}")),
    refused("a line without a colon", fields(b"X")),
    refused("a last line without a colon", fields(b"Y: 1", b"X")),
    refused("a request line among the fields", fields(b"GET /smuggled HTTP/1.1")),
    refused("a carriage return in a name", _named(b"X\rY")),
    refused("a line feed in a name", _named(b"X\nY")),
    served(
        "every sign of a name",
        _named(b"!#$%&'*+-.^_`|~aZ09"),
        header=(b"!#$%&'*+-.^_`|~az09", b"v"),
    ),
    served("a name in upper case", _named(b"X-UPPER"), header=(b"x-upper", b"v")),
    served("the same name twice", fields(b"X: 1", b"X: 2"), header=(b"x", b"2")),
    # Values.
    refused("a NUL in a value", _valued(b"a\0b")),
    refused("a NUL at the end of a value", _valued(b"a\0")),
    refused("a value of a NUL", _valued(b"\0")),
    refused("a control byte in a value", _valued(b"a\x01b")),
    refused("a bell at the end of a value", _valued(b"a\x07")),
    refused("a backspace in a value", _valued(b"a\x08b")),
    refused("a vertical tab in a value", _valued(b"a\x0bb")),
    refused("a form feed in a value", _valued(b"a\x0cb")),
    refused("an escape in a value", _valued(b"a\x1bb")),
    refused("a delete byte in a value", _valued(b"a\x7fb")),
    refused("a carriage return in a value", _valued(b"a\rb")),
    refused("a carriage return at the end of a value", _valued(b"a\r")),
    refused("a line feed in a value", _valued(b"a\nb")),
    refused("a line feed and a field in a value", _valued(b"a\nY: b")),
    refused("a carriage return and a field in a value", _valued(b"a\rY: b")),
    served("a tab in a value", _valued(b"a\tb"), header=(b"x", b"a\tb")),
    served("white space around a value", _valued(b" \t a b\t "), header=(b"x", b"a b")),
    served("no space before a value", fields(b"X:v"), header=(b"x", b"v")),
    served("an empty value", fields(b"X:"), header=(b"x", b"")),
    served("a value of white space", fields(b"X: \t "), header=(b"x", b"")),
    served("a colon in a value", _valued(b": a:b"), header=(b"x", b": a:b")),
    served("a value that is not ASCII", _valued(b"\xe9\xff"), header=(b"x", b"\xe9\xff")),
    # Lines.
    refused("a folded value", fields(b"X: a", b" b")),
    refused("a value folded with a tab", fields(b"X: a", b"\tb")),
    refused("a value folded with nothing", fields(b"X: a", b" ")),
    refused("an empty value, folded", fields(b"X:", b" b")),
    refused("a folded length", post(b"Content-Length:", b" 5")),
    refused("a folded first field", b"GET /case HTTP/1.1\r\n Host: h\r\n\r\n"),
    refused("a first line of white space", b"GET /case HTTP/1.1\r\n \r\nHost: h\r\n\r\n"),
    refused("a line feed after a field", b"GET /case HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n"),
    refused("a carriage return after a field", b"GET /case HTTP/1.1\r\nHost: h\rX: 1\r\n\r\n"),
    refused("a line feed at the end of the head", b"GET /case HTTP/1.1\r\nHost: h\r\n\n"),
    refused("two line feeds at the end of the head", b"GET /case HTTP/1.1\r\nHost: h\n\n"),
    refused("a line feed, then an empty line", b"GET /case HTTP/1.1\r\nHost: h\n\r\n"),
    refused("two carriage returns after a field", b"GET /case HTTP/1.1\r\nHost: h\r\r\n\r\n"),
    refused(
        "two carriage returns at the end of the head", b"GET /case HTTP/1.1\r\nHost: h\r\n\r\r\n"
    ),
    refused(
        "a carriage return at the end of the head",
        b"GET /case HTTP/1.1\r\nHost: h\r\n\r" + SMUGGLED,
    ),
    # What a field says.
    refused("an expectation nobody meets", fields(b"Expect: wonders"), 417),
    refused("two expectations", fields(b"Expect: 100-continue, wonders"), 417),
    refused("an expectation with a body", post(b"Content-Length: 5", b"Expect: wonders"), 417),
    served(
        "an expectation of 100",
        post(b"Content-Length: 5", b"Expect: 100-continue"),
        "POST",
        body=b"hello",
    ),
    served(
        "an expectation in upper case",
        post(b"Content-Length: 5", b"Expect: 100-CONTINUE"),
        "POST",
        body=b"hello",
    ),
    served("an expectation without a body", fields(b"Expect: 100-continue")),
    served("a last request", fields(b"Connection: close"), ends=True),
    served("a last request in upper case", fields(b"Connection: CLOSE"), ends=True),
    served("a last request in a list", fields(b"Connection: keep-alive, close"), ends=True),
    served(
        "a last request in two fields", fields(b"Connection: x", b"Connection: close"), ends=True
    ),
    served("a connection that stays", fields(b"Connection: keep-alive")),
    served("a connection of nonsense", fields(b"Connection: closed, ,x")),
    served(
        "an upgrade to HTTP/2",
        fields(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: A"),
    ),
    served("an upgrade to nonsense", fields(b"Connection: upgrade", b"Upgrade: nonsense")),
    served(
        "an upgrade with a body",
        post(b"Connection: upgrade", b"Upgrade: nonsense", b"Content-Length: 5"),
        "POST",
        body=b"hello",
    ),
    served(
        "an upgrade with chunks",
        post(
            b"Connection: upgrade",
            b"Upgrade: nonsense",
            b"Transfer-Encoding: chunked",
            body=b"5\r\nhello\r\n0\r\n\r\n",
        ),
        "POST",
        body=b"hello",
    ),
    served("an upgrade that is not asked for", fields(b"Upgrade: websocket")),
)
