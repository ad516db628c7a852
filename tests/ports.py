"""Ports for servers that must be told theirs, while other tests run at the same moment."""

import random
import socket
from typing import Final

_OURS: Final = range(20_000, 32_000)
"""Below what Linux and macOS give to sockets that ask for no port, or for any."""

_CHANCE: Final = random.SystemRandom()  # a seed that a test has set would give all the same ones


def free_port() -> int:
    """A port that nobody listens on, and that nobody gets who has not asked for it."""
    while True:
        port = _CHANCE.choice(_OURS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
