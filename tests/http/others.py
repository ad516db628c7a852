"""How other parsers read a stream of requests: h11, and llhttp as httptools has it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import h11
import httptools

from tests.http.recording import Seen

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Parsed:
    """One request, as far as every parser tells it: an empty query is none."""

    method: str
    target: bytes
    headers: tuple[Header, ...]
    body: bytes

    @classmethod
    def of(cls, seen: Seen) -> Self:
        target = seen.raw_path + (b"?" + seen.query if seen.query else b"")
        return cls(seen.method, target, written(seen.headers), bytes(seen.body))


@dataclass
class Reading:
    """The whole requests of a stream, and why there are no more."""

    requests: list[Parsed] = field(default_factory=list)
    refusal: str = ""
    ends: bool = False
    """Whether the connection ends after the last of them."""


def by_h11(data: bytes) -> Reading:
    """What h11 makes of a stream."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    reading = Reading()
    try:
        while (head := connection.next_event()) is not h11.NEED_DATA:
            if not isinstance(head, h11.Request):
                reading.ends = True
                break
            body = bytearray()
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            reading.requests.append(
                Parsed(
                    head.method.decode(), origin(head.target), written(head.headers), bytes(body)
                )
            )
            status = 204 if head.method != b"CONNECT" else 405
            connection.send(h11.Response(status_code=status, headers=[]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MUST_CLOSE:
                reading.ends = True
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        reading.refusal = str(error)
    return reading


class _Listener:
    """Collects what httptools calls."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.parser: httptools.HttpRequestParser
        self.target = b""
        self.headers: list[Header] = []
        self.is_head = True
        self.body = bytearray()

    def on_message_begin(self) -> None:
        self.target, self.headers, self.body = b"", [], bytearray()
        self.is_head = True

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_head:  # trailers come here, too
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.is_head = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        parsed = Parsed(method, origin(self.target), written(self.headers), bytes(self.body))
        self.reading.requests.append(parsed)
        self.reading.ends = not self.parser.should_keep_alive()


def by_llhttp(data: bytes) -> Reading:
    """What llhttp makes of a stream, as strictly as it can."""
    listener = _Listener()
    listener.parser = httptools.HttpRequestParser(listener)
    try:
        listener.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        # To httptools the head is all of a request that asks for an upgrade, body or not.
        del listener.reading.requests[-1:]
        listener.reading.ends = True
    except httptools.HttpParserError as error:
        listener.reading.refusal = str(error)
    return listener.reading


def written(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Header fields, with codings in lower case, as h11 has them."""
    return tuple(
        (bytes(name), bytes(value).lower() if name == b"transfer-encoding" else bytes(value))
        for name, value in headers
    )


def origin(target: bytes) -> bytes:
    """A target as the application gets it, without what stands before an absolute path."""
    if target.endswith(b"?") and target.count(b"?") == 1:
        target = target[:-1]
    lowered = target.lower()
    for scheme in (b"http://", b"https://"):
        if lowered.startswith(scheme):
            rest = target[len(scheme) :]
            at = min(
                (at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest)
            )
            path = rest[at:]
            target = path if path.startswith(b"/") else b"/" + path
    return target
