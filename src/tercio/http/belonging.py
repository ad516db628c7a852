"""A connection whose requests belong to one worker each: where sessions have homes (``--sticky``).

    at rest --bytes--> waiting for a whole head --here--> `Connection` goes on with all of them
                          |                  |--elsewhere--> released, with the bytes as luggage
                          |--too much, too late--> refused as by any connection

A head is looked at before anything of it is taken, so that it can be sent on as it came. Costs some
5 us a request, which only those pay who ask for sessions.
"""

from abc import abstractmethod
from typing import Final, Protocol

from tercio.http.connection import Connection
from tercio.http.luggage import Luggage
from tercio.http.peek import END, Head, peek
from tercio.http.service import Service


class Router(Protocol):
    """Who knows where a request belongs."""

    @abstractmethod
    def takes(self, connection: "Belonging", head: Head, data: bytes) -> bool:
        """Whether it belongs elsewhere and is on its way there; ``data`` begins with its head."""


_NOT_YET: Final = b""


class Belonging(Connection):
    """A `Connection` that asks ``router`` about each request that comes over it at rest."""

    __slots__ = ("_held", "_is_routed", "_router")

    def __init__(self, service: Service, router: Router, luggage: Luggage | None = None) -> None:
        super().__init__(service, luggage)
        self._router = router
        self._held = _NOT_YET  # of a head that is not complete
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
        elif self._held:
            if self._meet(self._held + data, max(0, len(self._held) - len(END))):
                return
            data, self._held = self._held + data, _NOT_YET
        elif self.is_answered and not self._unread and self._meet(data, 0):
            return
        super().data_received(data)

    def _meet(self, data: bytes, start: int) -> bool:
        """Bytes of a head came; True if they are not to be read now."""
        if data.find(END, start) < 0 and len(data) <= self.service.limits.head:
            if not self._held:
                # For time-outs and whoever moves connections a request has begun.
                self.in_head = True
                self.is_at_rest = False
                self.since = self.service.now
            self._held = data
            return True
        if self._held:
            # It has not begun for the parser, which counts it itself.
            self.in_head = False
        head = peek(data)
        if head is None or self.is_released or not self._router.takes(self, head, data):
            return False
        self._held = _NOT_YET
        return True

    def forget(self) -> None:
        self._held = _NOT_YET
        super().forget()
