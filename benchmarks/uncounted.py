"""The other side of the question what counting costs: hooks that do nothing."""

from tercio.http.traffic import Traffic


class Uncounted:
    """`tercio.http.hooks.Hooks`. A server counts bytes all the same: they are two additions."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def connection_made(self) -> None:
        pass

    def connection_adopted(self) -> None:
        pass

    def connection_lost(self) -> None:
        pass

    def connection_refused(self) -> None:
        pass

    def request_begun(self) -> None:
        pass

    def request_ended(self, status: int, seconds: float) -> None:
        pass

    def request_refused(self, status: int) -> None:
        pass

    def websocket_opened(self) -> None:
        pass

    def websocket_closed(self) -> None:
        pass

    def websocket_throttled(self) -> None:
        pass

    def traffic_passed(self) -> None:
        pass

    def app_failed(self) -> None:
        pass
