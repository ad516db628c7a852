"""What a server tells its worker."""

from typing import Protocol

from tercio.http.traffic import Traffic


class Hooks(Protocol):
    """Called on the request path, by the loop's thread: count, and return."""

    @property
    def traffic(self) -> Traffic:
        """What the server adds to. Asked for once."""

    def traffic_passed(self) -> None:
        """Look at `traffic`: it may have grown without the end of a request.

        Called about once a second as long as something passes, and at the server's end.
        """

    def connection_made(self) -> None: ...
    def connection_adopted(self) -> None:
        """One was made of a connection that somebody had accepted before."""

    def connection_lost(self) -> None: ...
    def connection_refused(self) -> None:
        """One was closed as it came: its peer has too many. It was never made."""

    def request_begun(self) -> None: ...
    def request_ended(self, status: int, seconds: float) -> None:
        """The answer is complete, or will never be; status 0 = nothing was answered."""

    def request_moved(self) -> None:
        """One that has begun was given to another process, before the application knew of it."""

    def request_refused(self, status: int) -> None:
        """The server said no to what never became a request, or to a WebSocket's handshake."""

    def websocket_opened(self) -> None: ...
    def websocket_closed(self) -> None: ...
    def websocket_throttled(self) -> None:
        """One has to wait: its client sent more messages than it may."""

    def app_failed(self) -> None:
        """An exception left the application."""


class Watch(Protocol):
    """For whoever moves or judges connections: told each time one changes hands.

    Nobody is told as long as there is no watch, which makes it free.
    """

    def connection_busy(self, connection: object) -> None:
        """The first byte of a request came over an idle connection."""

    def connection_idle(self, connection: object) -> None:
        """Everything that was asked is answered."""

    def connection_upgraded(self, connection: object) -> None:
        """It is a WebSocket from now on, and will not be idle again."""
