"""WebSockets of all workers, by room."""

from tercio.rooms.connection import Connection
from tercio.rooms.rooms import Joined, Rooms

__all__ = ["Connection", "Joined", "Rooms"]
