"""How much memory an idle connection takes in the server."""

import time
from dataclasses import dataclass

from benchmarks.http.ask import ask, held, lost
from benchmarks.http.servers import running

CONNECTIONS = 2000
_WARM_UP = 500  # requests, before the empty server is looked at
_SETTLE = 1.0


@dataclass(frozen=True)
class Memory:
    empty: int  # bytes of the whole server without a connection
    connection: float  # bytes that each idle connection adds
    lost: int  # connections that the server closed meanwhile


def measure(name: str) -> Memory:
    """A fresh server each time: one that freed memory would use it again."""
    with running(name, "benchmarks.http.app:app", workers=1, cpu=0, tls=False) as server:
        for _ in range(_WARM_UP):
            ask(server.port, "/")
        time.sleep(_SETTLE)
        empty = server.resident()
        with held(server.port, CONNECTIONS) as connections:
            time.sleep(_SETTLE)
            full = server.resident()
            return Memory(empty, (full - empty) / CONNECTIONS, lost(connections))
