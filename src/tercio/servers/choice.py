"""Make the server that ``--server`` names."""

from collections.abc import Callable

from tercio.config import Config
from tercio.servers.port import Server


def make(config: Config, note: Callable[[str, str], None]) -> Server:
    """Only the one that is wanted is imported: each of them costs a boot some 50 ms."""
    match config.server:
        case "uvicorn":
            from tercio.servers.uvicorn import UvicornServer

            return UvicornServer(config, note)
        case "granian":
            from tercio.servers.granian import GranianServer

            return GranianServer(config, note)
        case _:
            from tercio.servers.tercio import TercioServer

            return TercioServer(config, note)
