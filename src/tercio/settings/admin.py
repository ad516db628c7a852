"""Check the options of the admin API: nothing listens for strangers without token and TLS."""

import ipaddress
import os
from collections.abc import Iterator

from tercio.config import Config
from tercio.errors import ConfigError
from tercio.settings.tokens import read_tokens


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address in the notation of ``--bind``."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def admin_checks(config: Config, cwd: str) -> Iterator[str]:
    """A message for each reason not to open it."""
    if not config.admin:
        given = ("admin_token_file", "admin_host", "admin_ssl_certfile")
        for name in given:
            if getattr(config, name):
                yield f"{name.replace('_', '-')}: expected --admin ADDRESS beside it"
        return
    if config.admin_ssl_keyfile and not config.admin_ssl_certfile:
        yield "admin-ssl-keyfile: expected admin-ssl-certfile beside it"
    for path in (config.admin_ssl_certfile, config.admin_ssl_keyfile):
        if path and not os.access(os.path.join(cwd, path), os.R_OK):
            yield f"admin-ssl-certfile: {path!r} cannot be read"
    if config.admin_token_file:
        try:
            read_tokens(os.path.join(cwd, config.admin_token_file))
        except ConfigError as error:
            yield str(error)
    if is_local(config.admin):
        return
    if not config.admin_token_file:
        yield f"--admin {config.admin!r}: expected --admin-token-file, as others can reach it"
    if not config.admin_ssl_certfile and not config.admin_insecure:
        yield (
            f"--admin {config.admin!r}: expected --admin-ssl-certfile, as others can reach it; "
            "or --admin-insecure, where something before it speaks TLS"
        )
