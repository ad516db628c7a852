"""The numbers that bound what a client may cost. Pure."""

from dataclasses import dataclass
from typing import Final, Self

from tercio.config import Config

_SHORTEST_PERIOD: Final = 0.25
"""Seconds: no worker that only waits wakes up more often."""
_LONGEST_PERIOD: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, bytes and counts."""

    head_timeout: float
    """From the first byte of a request's head to its last."""
    keep_alive_timeout: float
    body_rate: int
    """Bytes a second that a body must bring on average, 0 = any."""
    body_grace: float
    """Seconds before that average is looked at."""
    write_timeout: float
    """How long bytes may wait for a client that reads nothing, 0 = for ever."""
    request_line: int
    head: int
    """Bytes of a whole head, and of all trailers."""
    fields: int
    """Header fields of a head, and of all trailers."""
    linger_timeout: float
    """Seconds that the rest of a refused or unread request is read and thrown away."""
    linger_size: int
    concurrency: int | None
    """Connections or requests beyond which 503 is answered."""
    websocket_size: int
    websocket_queue: int
    """Messages that may wait for the application before reading stops."""
    websocket_rate: int
    """Messages a second that one client may send, 0 = any number."""
    websocket_deflate: bool
    """Whether messages may be compressed."""
    ping_interval: float
    """0 = never."""
    ping_timeout: float
    """0 = for ever."""

    @classmethod
    def of(cls, config: Config) -> Self:
        return cls(
            head_timeout=config.timeout_head,
            keep_alive_timeout=config.timeout_keep_alive,
            body_rate=config.limit_body_rate,
            body_grace=config.limit_body_grace,
            write_timeout=config.timeout_write,
            request_line=config.limit_request_line,
            head=config.limit_head,
            fields=config.limit_head_fields,
            linger_timeout=config.linger,
            linger_size=config.linger_size,
            concurrency=config.limit_concurrency,
            websocket_size=config.ws_max_size,
            websocket_queue=config.ws_max_queue,
            websocket_rate=config.ws_max_rate,
            websocket_deflate=config.ws_per_message_deflate,
            ping_interval=config.ws_ping_interval,
            ping_timeout=config.ws_ping_timeout,
        )

    @property
    def sweep_period(self) -> float:
        """Seconds between two looks at the connections: a quarter of the shortest time-out."""
        timeouts = (
            self.head_timeout,
            self.keep_alive_timeout,
            self.write_timeout,
            self.ping_interval,
            self.ping_timeout,
        )
        shortest = min((each for each in timeouts if each), default=_LONGEST_PERIOD)
        return min(max(shortest / 4, _SHORTEST_PERIOD), _LONGEST_PERIOD)
