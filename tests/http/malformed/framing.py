"""Where a body ends: Content-Length, Transfer-Encoding, and both."""

from tests.http.malformed.case import SMUGGLED, Case, post, refused, served

_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
# To say which of the two is wrong with a list of codings is not worth a parser of its own.
_CODING = (501, 400)


def _length(value: bytes) -> bytes:
    return post(b"Content-Length: " + value)


def _coding(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=_CHUNKS)


FRAMING: tuple[Case, ...] = (
    # Lengths.
    refused("a length with a sign", _length(b"+5")),
    refused("a negative length", _length(b"-5")),
    refused("a length of minus zero", _length(b"-0")),
    refused("a length in hexadecimal", _length(b"0x5")),
    refused("a length with a letter", _length(b"5a")),
    refused("a length with a dot", _length(b"5.0")),
    refused("a length with an exponent", _length(b"5e0")),
    refused("a length with an underscore", _length(b"0_5")),
    refused("a length with a space inside", _length(b"1 5")),
    refused("a length with a semicolon", _length(b"5;")),
    refused("a length in quotes", _length(b'"5"')),
    refused("a length in other digits", _length(b"\xd9\xa5")),
    refused("an empty length", _length(b"")),
    refused("a length of white space", _length(b" \t ")),
    refused("a list of lengths", _length(b"5, 5")),
    refused("a list of lengths without spaces", _length(b"5,5")),
    refused("a length with a comma", _length(b"5,")),
    refused("a length with a comma before", _length(b",5")),
    refused("a length with a vertical tab", _length(b"\x0b5")),
    refused("a length with a form feed", _length(b"5\x0c")),
    refused("a length with a NUL", _length(b"5\0")),
    refused("a length with a carriage return", _length(b"5\r0")),
    refused("a length with a line feed", _length(b"5\n0")),
    refused("a length beyond 64 bits", _length(b"18446744073709551616")),
    refused("a length that would be 5 in 64 bits", _length(b"18446744073709551621")),
    refused("a length of a thousand digits", _length(b"9" * 1000)),
    refused("the same length twice", post(b"Content-Length: 5", b"Content-Length: 5")),
    refused("two lengths", post(b"Content-Length: 5", b"Content-Length: 0")),
    refused("two lengths in two spellings", post(b"Content-Length: 5", b"content-length: 5")),
    refused("two lengths apart", post(b"Content-Length: 5", b"X: 1", b"Content-Length: 0")),
    refused(
        "two lengths of a GET",
        b"GET /case HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    ),
    refused("a space before the colon of a length", post(b"Content-Length : 5")),
    refused("a tab before the colon of a length", post(b"Content-Length\t: 5")),
    refused("a NUL in the name of a length", post(b"Content-Length\0: 5")),
    served("a length", _length(b"5"), "POST", body=b"hello"),
    served("a length with zeros", _length(b"0005"), "POST", body=b"hello"),
    served("a length with white space around", _length(b" \t5\t "), "POST", body=b"hello"),
    served("a length of nothing", post(b"Content-Length: 0", body=b""), "POST"),
    served("a POST without a length", post(body=b""), "POST"),
    served(
        "a length of a GET",
        b"GET /case HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        body=b"hello",
    ),
    served(
        "a length that hides a request",
        post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        "POST",
        body=SMUGGLED,
    ),
    served("a name that is nearly a length", post(b"Content_Length: 5", body=b""), "POST"),
    served("a name that begins as a length", post(b"Content-Length-X: 5", body=b""), "POST"),
    # Codings.
    refused("an unknown coding", _coding(b"x"), 501),
    refused("a coding we do not speak", _coding(b"gzip, chunked"), 501),
    refused("a coding that is not chunked", _coding(b"gzip"), *_CODING),
    refused("a coding of nothing", _coding(b"identity"), *_CODING),
    refused("an empty coding", _coding(b""), *_CODING),
    refused("a coding after chunked", _coding(b"chunked, gzip"), *_CODING),
    refused("nothing after chunked", _coding(b"chunked, identity"), *_CODING),
    refused(
        "a coding in another field after chunked",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=_CHUNKS),
        *_CODING,
    ),
    refused(
        "a coding in another field before chunked",
        post(b"Transfer-Encoding: x", b"Transfer-Encoding: chunked", body=_CHUNKS),
        *_CODING,
    ),
    refused("chunked twice", _coding(b"chunked, chunked")),
    refused(
        "chunked in two fields",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=_CHUNKS),
    ),
    refused("a name that begins as chunked", _coding(b"chunkedx"), *_CODING),
    refused("a name that ends as chunked", _coding(b"xchunked"), *_CODING),
    refused("chunked with a parameter", _coding(b"chunked;q=1"), *_CODING),
    refused("chunked in quotes", _coding(b'"chunked"'), *_CODING),
    refused("chunked with a space inside", _coding(b"chun ked"), *_CODING),
    refused("chunked with a comma", _coding(b"chunked,"), *_CODING),
    refused("chunked with a comma before", _coding(b", chunked"), *_CODING),
    refused("chunked with a vertical tab before", _coding(b"\x0bchunked")),
    refused("chunked with a vertical tab after", _coding(b"chunked\x0b")),
    refused("chunked with a NUL", _coding(b"chunked\0")),
    refused("chunked with a carriage return", _coding(b"\rchunked")),
    refused("chunked with a line feed", _coding(b"\nchunked")),
    refused("chunked that is not ASCII", _coding(b"\xd1\x81hunked"), *_CODING),
    refused("a folded coding", post(b"Transfer-Encoding:", b" chunked", body=_CHUNKS)),
    refused("a space before the colon of a coding", post(b"Transfer-Encoding : chunked")),
    refused("a tab before the colon of a coding", post(b"Transfer-Encoding\t: chunked")),
    refused("a space before the name of a coding", post(b"X: 1", b" Transfer-Encoding: chunked")),
    refused(
        "chunked in version 1.0",
        b"POST /case HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
    ),
    served("chunked", _coding(b"chunked"), "POST", body=b"hello"),
    served("chunked in upper case", _coding(b"CHUNKED"), "POST", body=b"hello"),
    served("chunked with white space before", _coding(b"\t chunked"), "POST", body=b"hello"),
    # llhttp 9.3 takes a space there, and no tab.
    served("chunked with a space after", _coding(b"chunked "), "POST", body=b"hello"),
    served("chunked with a tab after", _coding(b"chunked\t"), "POST", body=b"hello", unless=400),
    served(
        "chunked of a GET",
        b"GET /case HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
        body=b"hello",
    ),
    served("a name that is nearly a coding", post(b"Transfer_Encoding: x", body=b""), "POST"),
    # Both.
    refused(
        "a coding before a length",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=_CHUNKS),
    ),
    refused(
        "a length before a coding",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=_CHUNKS),
    ),
    refused(
        "a coding and a length of nothing",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=_CHUNKS),
    ),
    refused(
        "a length and an unknown coding",
        post(b"Content-Length: 5", b"Transfer-Encoding: x"),
        *_CODING,
    ),
    refused(
        "a length and an empty coding", post(b"Content-Length: 5", b"Transfer-Encoding:"), *_CODING
    ),
    refused(
        "a request behind the shorter of two ends",
        post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    ),
    refused(
        "a request behind the shorter of two lengths",
        post(
            b"Content-Length: 5",
            b"Content-Length: %d" % (5 + len(SMUGGLED)),
            body=b"hello" + SMUGGLED,
        ),
    ),
)
