"""Streams that a server of ours once got wrong, or that were hard to get right. Data only.

What `scripts/fuzz-http` finds comes here.
"""

from typing import Final

CORPUS: Final[dict[str, bytes]] = {
    "an upgrade in the middle of a body that is cut": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"
    ),
    "a request after one that is the last": (
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    ),
    "a bad request after one that is the last": (
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\0\0\0"
    ),
    "trailers of one request before the fields of the next": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n"
        b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    ),
    "a length without a body, then the end": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nshort"
    ),
    "only line ends": b"\r\n" * 1000,
}
