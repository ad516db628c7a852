"""What a load client asks again and again, and what came of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Work:
    """One kind of request; NUMBER in path and answer stands for the connection's number."""

    path: str
    answer: bytes  # the body of every answer; of a WebSocket, the message that comes back
    connections: int
    kind: Literal["get", "post", "chunked", "websocket"] = "get"
    body: bytes = b""
    pieces: int = 1  # a chunked body is written in so many
    close: bool = False  # a connection for each request
    rate: float | None = None  # requests a second, come what may; None: each after an answer

    @property
    def fits_wrk(self) -> bool:
        return self.kind in ("get", "post") and self.rate is None


@dataclass(frozen=True)
class Outcome:
    """Answers in some seconds; times in milliseconds."""

    answers: int
    seconds: float
    p50: float
    p99: float
    errors: int = 0
    first_error: str = ""
