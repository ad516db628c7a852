"""Make the server that ``--server`` names."""

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

from tercio.config import Config
from tercio.errors import ConfigError
from tercio.servers import granian_options

if TYPE_CHECKING:  # the command line checks a choice, and needs no event loop for it
    from tercio.servers.entrance import Turns
    from tercio.servers.port import Server


def check(config: Config) -> None:
    """Raises `ConfigError` if the server that is wanted is not installed, or cannot do as asked."""
    match config.server:
        case "uvicorn" if importlib.util.find_spec("uvicorn") is None:
            raise ConfigError(
                "--server uvicorn: it is not installed; pip install 'tercio[uvicorn]'"
            )
        case "granian":
            granian_options.check(config)
        case _:
            pass


def make(
    config: Config, note: Callable[[str, str], None], turns: "Turns | None" = None
) -> "Server":
    """Only the one that is wanted is imported: each of them costs a boot some 50 ms.

    granian takes no turns: its thread accepts until the queue is empty.
    """
    if config.interface == "callable":
        from tercio.servers.callable import CallableServer

        return CallableServer(config, note)
    match config.server:
        case "uvicorn":
            from tercio.servers.uvicorn import UvicornServer

            return UvicornServer(config, note, turns)
        case "granian":
            from tercio.servers.granian import GranianServer

            return GranianServer(config, note)
        case _:
            from tercio.servers.tercio import TercioServer

            return TercioServer(config, note, turns)
