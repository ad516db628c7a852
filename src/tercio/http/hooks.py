"""What a server tells its worker."""

from typing import Protocol


class Hooks(Protocol):
    """Called on the request path, by the loop's thread: count, and return."""

    def connection_made(self) -> None: ...
    def connection_lost(self) -> None: ...
    def request_begun(self) -> None: ...
    def request_ended(self, status: int, seconds: float) -> None:
        """The answer is complete, or will never be; status 0 = nothing was answered."""

    def websocket_opened(self) -> None: ...
    def websocket_closed(self) -> None: ...
    def app_failed(self) -> None:
        """An exception left the application."""
