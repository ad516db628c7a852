"""Make the event loop that a worker turns."""

import asyncio
from collections.abc import Callable

from tercio.errors import ConfigError


def factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop: uvloop where it is wanted and installed, else asyncio's own.

    Named in either case: a loop of the runner's own making would be the current one during the
    import, and code there that closes "its" loop would close the worker's. Raises `ConfigError`.
    """
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError as error:
        if name == "auto":
            return asyncio.new_event_loop
        raise ConfigError("--loop uvloop: it is not installed; pip install uvloop") from error
    return uvloop.Loop
