"""What rooms count, for `/metrics`."""

from tercio.metrics.metrics import Metrics


class Counting:
    """Made when first something is counted: an application without rooms has no series of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def too_slow(self) -> None:
        """A client was closed because it did not keep up."""
        self._metrics.own_counter(
            "tercio_room_slow_clients", "WebSockets closed because they did not keep up."
        ).inc()

    def lost(self, number: int) -> None:
        """Messages of rooms that keep them were nowhere to be found."""
        self._metrics.own_counter(
            "tercio_room_lost_messages", "Messages of rooms that keep them which did not arrive."
        ).inc(number)
