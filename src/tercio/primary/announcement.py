"""What a cluster says of itself as it starts: where it serves, and what is probably not meant."""

import os
from collections.abc import Mapping

from tercio import __version__
from tercio.config import Config
from tercio.core import events
from tercio.core.model import SEATS_PER_SLOT
from tercio.primary import inboxes
from tercio.primary.journal import Journal
from tercio.primary.setup import Setup


def publish(setup: Setup, journal: Journal) -> None:
    """Once, before the first worker is started."""
    for warning in setup.settings.warnings:
        journal.publish(events.ConfigWarning(warning))
    journal.publish(
        events.ClusterStarted(
            name=setup.name,
            app=setup.settings.config.app,
            urls=tuple(listener.url for listener in setup.listeners),
            workers=setup.size.workers,
            why=setup.size.why,
            server=setup.settings.config.server,
            engine=setup.settings.config.engine,
            runtime_dir=setup.claim.path,
            pid=os.getpid(),
            version=__version__,
        )
    )
    config = setup.settings.config
    refused = [
        *setup.balancing.warnings(setup.listeners),
        *inboxes.warning(config, setup.size.most * SEATS_PER_SLOT),
    ]
    for text in (*start_warnings(config), *refused):
        journal.publish(events.ConfigWarning(text))


def start_warnings(config: Config, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What works, and is probably not meant."""
    warnings = []
    if os.geteuid() == 0 and not config.user:
        warnings.append("workers run as root: give them another user with --user")
    in_container = os.path.exists("/.dockerenv") or "KUBERNETES_SERVICE_HOST" in environ
    is_default = not config.bind and not config.uds and config.fd is None
    if in_container and is_default and config.host in ("127.0.0.1", "localhost", "::1"):
        warnings.append(
            f"listening on {config.host} inside a container: nobody outside can connect; "
            "use --host 0.0.0.0"
        )
    return warnings
