"""What an idle connection takes along to another process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Luggage:
    """What the next server must know to go on as if it had always had the connection."""

    idle: float = 0.0
    """Seconds since it came to rest: time-outs go on."""
    asked: int = 0
    """Requests that have begun on it; with none it is a first head that is waited for."""
    hops: int = 0
    """Processes in a row that have passed it on unserved."""
    data: bytes = b""
    """What was read of it and belongs to no request yet."""
    is_back: bool = False
    """It was to go elsewhere, and could not be sent."""
