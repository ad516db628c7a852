"""Chunked bodies: sizes, extensions, ends and trailers."""

from tests.http.malformed.case import SMUGGLED, Case, chunked, refused, served

_LAST = b"0\r\n\r\n"


def _size(size: bytes) -> bytes:
    """A body of one chunk of five bytes with this size."""
    return chunked(size + b"\r\nhello\r\n" + _LAST)


def _trailer(lines: bytes) -> bytes:
    return chunked(b"5\r\nhello\r\n0\r\n" + lines + b"\r\n")


CHUNKS: tuple[Case, ...] = (
    # Sizes.
    refused("a size with a sign", _size(b"+5")),
    refused("a negative size", _size(b"-5")),
    refused("a size with a prefix", _size(b"0x5")),
    refused("a size with a space before", _size(b" 5")),
    refused("a size with a space after", _size(b"5 ")),
    refused("a size with a tab after", _size(b"5\t")),
    refused("a size with a space before its extension", _size(b"5 ;x")),
    refused("a size with a space inside", _size(b"0 5")),
    refused("a size with a letter beyond F", _size(b"5g")),
    refused("a size with an underscore", _size(b"0_5")),
    refused("a size with a dot", _size(b"5.")),
    refused("a size with an h", _size(b"5h")),
    refused("a size with a NUL", _size(b"5\0")),
    refused("a size in other digits", _size(b"\xd9\xa5")),
    refused("a size with a comma", _size(b"5,5")),
    refused("an empty size", _size(b"")),
    refused("a size of an extension only", _size(b";x")),
    refused("a size beyond 64 bits", _size(b"10000000000000005")),
    # llhttp bounds the number, not its zeros; all read the same.
    served("a size of 17 digits", _size(b"0" * 16 + b"5"), "POST", body=b"hello", unless=400),
    served(
        "a size of a thousand digits", _size(b"0" * 999 + b"5"), "POST", body=b"hello", unless=400
    ),
    refused("a line feed after a size", chunked(b"5\nhello\r\n" + _LAST)),
    refused("a carriage return after a size", chunked(b"5\rhello\r\n" + _LAST)),
    refused("two carriage returns after a size", chunked(b"5\r\r\nhello\r\n" + _LAST)),
    refused("an empty line before a size", chunked(b"\r\n5\r\nhello\r\n" + _LAST)),
    served("a size with zeros", _size(b"0005"), "POST", body=b"hello"),
    served("a size of 16 digits", _size(b"0000000000000005"), "POST", body=b"hello"),
    served(
        "a size in lower case", chunked(b"a\r\n0123456789\r\n" + _LAST), "POST", body=b"0123456789"
    ),
    served(
        "a size in upper case", chunked(b"A\r\n0123456789\r\n" + _LAST), "POST", body=b"0123456789"
    ),
    served(
        "chunks of one byte",
        chunked(b"1\r\na\r\n1\r\nb\r\n1\r\n\r\r\n" + _LAST),
        "POST",
        body=b"ab\r",
    ),
    # Data.
    refused("a chunk that is too long", chunked(b"5\r\nhello!\r\n" + _LAST)),
    refused("a chunk that is too short", chunked(b"5\r\nhell\r\n" + _LAST)),
    refused("a chunk without an end", chunked(b"5\r\nhello" + _LAST)),
    refused("a line feed after a chunk", chunked(b"5\r\nhello\n" + _LAST)),
    refused("a carriage return after a chunk", chunked(b"5\r\nhello\r" + _LAST)),
    refused("two carriage returns after a chunk", chunked(b"5\r\nhello\r\r\n" + _LAST)),
    refused("two ends after a chunk", chunked(b"5\r\nhello\r\n\r\n" + _LAST)),
    served(
        "a request in a chunk",
        chunked(b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + _LAST),
        "POST",
        body=SMUGGLED,
    ),
    served(
        "line ends in a chunk", chunked(b"5\r\n\r\n0\r\n\r\n" + _LAST), "POST", body=b"\r\n0\r\n"
    ),
    # Extensions.
    served("an extension", _size(b"5;x"), "POST", body=b"hello"),
    served("an extension with a value", _size(b"5;x=y"), "POST", body=b"hello"),
    served("an extension with quotes", _size(b'5;x="y z"'), "POST", body=b"hello"),
    served("an extension with a semicolon in quotes", _size(b'5;x="y;z"'), "POST", body=b"hello"),
    served(
        "an extension of the last chunk",
        chunked(b"5\r\nhello\r\n0;x=y\r\n\r\n"),
        "POST",
        body=b"hello",
    ),
    refused("a NUL in an extension", _size(b"5;x=\0")),
    refused("a control byte in an extension", _size(b"5;x=\x01")),
    refused("a line feed in an extension", _size(b"5;x\ny")),
    refused("a carriage return in an extension", _size(b"5;x\ry")),
    refused("a line end in the quotes of an extension", _size(b'5;x="\r\n"')),
    refused("a line feed at the end of an extension", chunked(b"5;x\nhello\r\n" + _LAST)),
    refused(
        "a request behind a line feed in an extension",
        chunked(b"5;\n" + b"x" * 5 + b"\r\n" + _LAST + SMUGGLED),
    ),
    # The end.
    refused("a line feed after the last size", chunked(b"0\n\r\n")),
    refused("line feeds at the end", chunked(b"0\n\n")),
    refused("a line feed for the last line", chunked(b"0\r\n\n")),
    refused("two carriage returns at the end", chunked(b"0\r\n\r\r\n")),
    refused("a carriage return at the end", chunked(b"0\r\n\rX")),
    refused("a negative last size", chunked(b"-0\r\n\r\n")),
    refused("a last chunk with data", chunked(b"0\r\nx\r\n\r\n")),
    served("nothing but a last chunk", chunked(_LAST), "POST"),
    served("a last size with zeros", chunked(b"0000\r\n\r\n"), "POST"),
    # Trailers.
    served("a trailer", _trailer(b"X: 1\r\n"), "POST", body=b"hello"),
    served("two trailers", _trailer(b"X: 1\r\nY:\r\n"), "POST", body=b"hello"),
    refused("a trailer without a colon", _trailer(b"X\r\n")),
    refused("a trailer without a name", _trailer(b": 1\r\n")),
    refused("a trailer with a space before the colon", _trailer(b"X : 1\r\n")),
    refused("a trailer with a NUL", _trailer(b"X: \0\r\n")),
    refused("a trailer with a NUL in its name", _trailer(b"X\0: 1\r\n")),
    refused("a folded trailer", _trailer(b"X: 1\r\n 2\r\n")),
    refused("a first trailer that is folded", _trailer(b" X: 1\r\n")),
    refused("a line feed after a trailer", _trailer(b"X: 1\n")),
    refused("a carriage return in a trailer", _trailer(b"X: 1\r2\r\n")),
    refused("a request for a trailer", chunked(b"0\r\n" + SMUGGLED)),
    # Framing in a trailer has no meaning: to ignore it and to refuse it are both safe.
    served(
        "a length in a trailer",
        _trailer(b"Content-Length: 9\r\n"),
        "POST",
        body=b"hello",
        unless=400,
    ),
    served(
        "a coding in a trailer",
        _trailer(b"Transfer-Encoding: chunked\r\n"),
        "POST",
        body=b"hello",
        unless=400,
    ),
    served("a host in a trailer", _trailer(b"Host: i\r\n"), "POST", body=b"hello", unless=400),
    served(
        "a last request in a trailer",
        _trailer(b"Connection: close\r\n"),
        "POST",
        body=b"hello",
        ends=True,
        unless=400,
    ),
)
