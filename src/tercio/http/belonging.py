"""A connection whose requests belong to one worker each: where sessions have homes (``--sticky``).

    at rest --bytes--> waiting for a whole head --here--> `Connection` goes on with all of them
                          |        |    ^         |--elsewhere--> released, the bytes as luggage
                          |        |    |---------|--later--> asked about again; nothing is read
                          |        |--too much, too late--> refused as by any connection

A head is looked at before anything of it is taken, so that it can be sent on as it came. Costs some
5 us a request, which only those pay who ask for sessions.
"""

from abc import abstractmethod
from enum import Enum, auto
from typing import Final, Protocol

from tercio.http.connection import Connection
from tercio.http.head import BadRequest
from tercio.http.luggage import Luggage
from tercio.http.peek import END, Head, peek
from tercio.http.service import Service


class Place(Enum):
    """Where a request is answered."""

    HERE = auto()
    ELSEWHERE = auto()
    """It is on its way there."""
    LATER = auto()
    """Nobody can answer it now; its connection is to be asked again (`Belonging.go_on_waiting`)."""
    NOWHERE = auto()
    """Too many wait already."""


class Router(Protocol):
    """Who knows where a request belongs."""

    @abstractmethod
    def route(self, connection: "Belonging", head: Head, data: bytes) -> Place:
        """Find it out, and send it there; ``data`` begins with its head."""

    @abstractmethod
    def came(self) -> None:
        """A request was sent here, as it belongs here."""

    @abstractmethod
    def put_off(self, connection: "Belonging") -> None:
        """Ask it again, after a while."""


_NOT_YET: Final = b""
_ENDS: Final = (b"\r", b"\n")


class Belonging(Connection):
    """A `Connection` that asks ``router`` about each request that comes over it at rest."""

    __slots__ = ("_held", "_is_routed", "_router")

    def __init__(self, service: Service, router: Router, luggage: Luggage | None = None) -> None:
        super().__init__(service, luggage)
        self._router = router
        self._held = _NOT_YET  # of a request that nobody has begun to read
        # What comes as luggage has been sent here: were it asked about again, two workers that
        # disagree would send it to and fro.
        self._is_routed = luggage is not None and bool(luggage.data)

    @property
    def client_host(self) -> str | None:
        """The peer's address; None over a Unix socket."""
        client = self._template["client"]
        return client[0] if client else None

    @property
    def scheme(self) -> str:
        """``http``, or ``https`` over TLS."""
        return str(self._template["scheme"])

    def data_received(self, data: bytes) -> None:
        if self._is_routed:
            self._is_routed = False
            if self._luggage is not None and self._luggage.is_back:
                self._hold(data)
                self.pause_reading()
                self._router.put_off(self)
                return
            self._router.came()
        elif self._held:
            start = max(0, len(self._held) - len(END))
            return self._meet(self._held + data, start)
        elif self.is_answered and not self._unread:
            return self._meet(data, 0)
        super().data_received(data)

    def go_on_waiting(self) -> None:
        """Ask again where the request belongs that was put off."""
        if self._held and not self.is_lost:
            self._meet(self._held, 0)

    def _meet(self, data: bytes, start: int) -> None:
        """Bytes of a request came that nobody has begun to read."""
        if data[:1] in _ENDS and not (data := data.lstrip(b"\r\n")):
            return  # an end of line too many belongs to no request (RFC 9112, 2.2)
        if data.find(END, start) < 0 and len(data) <= self.service.limits.head:
            self._hold(data)
            return
        head = peek(data, self.service.limits.fields)
        # Released it must be as it is at rest.
        is_begun, self.in_head = self.in_head, False
        place = self._router.route(self, head, data) if head is not None else Place.HERE
        if place is Place.ELSEWHERE:
            return
        if place is Place.LATER:
            self.in_head = is_begun
            self._hold(data)
            self.pause_reading()
            return
        self._held = _NOT_YET
        if place is Place.NOWHERE:
            self.refuse(BadRequest(503, "The worker of this session has too much to do."))
            return
        super().data_received(data)
        self.resume_reading()

    def _hold(self, data: bytes) -> None:
        if not self.in_head:
            # For time-outs and whoever moves connections a request has begun; for the parser, which
            # counts it itself, it has not.
            self.in_head = True
            self.is_at_rest = False
            self.since = self.service.now
        self._held = data

    def forget(self) -> None:
        self._held = _NOT_YET
        super().forget()
