"""Open the addresses of the sidecar before any worker starts: a port that is taken is told."""

import os
from contextlib import ExitStack
from dataclasses import dataclass

from tercio.config import Config
from tercio.system.sockets import Listener, open_listeners, parse_bind

_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Doors:
    """What the sidecar listens on; nothing where no option asks for it."""

    health: tuple[Listener, ...] = ()
    admin: tuple[Listener, ...] = ()

    @property
    def descriptors(self) -> list[int]:
        """What it inherits."""
        return [fd for listener in (*self.health, *self.admin) for fd in listener.filenos()]


def open_doors(config: Config, stack: ExitStack) -> Doors:
    """Listen at ``--health`` and ``--admin``. Raises `CouldNotStart`."""
    # Others on this machine may probe, but only we may give orders.
    health = _open(config.health, "http", config.uds_permissions, stack)
    scheme = "https" if config.admin_ssl_certfile else "http"
    return Doors(health, _open(config.admin, scheme, 0o600, stack))


def _open(address: str, scheme: str, permissions: int, stack: ExitStack) -> tuple[Listener, ...]:
    if not address:
        return ()
    listeners = open_listeners(
        [parse_bind(address)],
        backlog=_BACKLOG,
        uds_permissions=permissions,
        scheme=scheme,
        environ=os.environ,
    )
    for listener in listeners:
        stack.callback(listener.close)
    return tuple(listeners)
