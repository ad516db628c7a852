"""What of our options granian has too, what it has otherwise, and what it cannot keep."""

import importlib.util
import sys
from typing import Any, Final

from tercio.config import OPTIONS, Config
from tercio.errors import ConfigError

INSTALL: Final = "pip install 'granian>=2.8.1,<2.9'"

_REFUSED: Final = {
    "ssl_ciphers": "its TLS takes no list of ciphers",
}
"""To ignore one of these would be less safe than was asked for."""

_IGNORED: Final = (
    "date_header",
    "limit_body_grace",
    "limit_body_rate",
    "limit_head_fields",
    "limit_peer_connections",
    "limit_request_line",
    "linger",
    "linger_size",
    "server_header",
    "timeout_head",
    "timeout_write",
    "ws_max_queue",
    "ws_max_rate",
    "ws_max_size",
    "ws_per_message_deflate",
    "ws_ping_interval",
    "ws_ping_timeout",
)


def missing() -> str:
    """What to do when there is no granian that is known here."""
    return f"--server granian: it is not installed, or no version that was tried; {INSTALL}"


def check(config: Config) -> None:
    """Raises `ConfigError` if it cannot serve here, or not as safely as was asked for."""
    if not sys.platform.startswith("linux"):
        raise ConfigError("--server granian works on Linux only (see docs/servers.md)")
    if importlib.util.find_spec("granian") is None:
        raise ConfigError(missing())
    for name, reason in _REFUSED.items():
        if getattr(config, name):
            raise ConfigError(f"--server granian has no --{name.replace('_', '-')}: {reason}")


def notes(config: Config) -> list[str]:
    """One line about what was asked for and is not kept; none if nothing was."""
    asked = [name for name in _IGNORED if getattr(config, name) != OPTIONS[name].default]
    if not asked:
        return []
    flags = ", ".join("--" + name.replace("_", "-") for name in asked)
    return [f"--server granian does not keep {flags} (see docs/servers.md)"]


def headers(config: Config) -> list[tuple[bytes, bytes]]:
    """What ``--header`` adds to every response."""
    parts = (line.partition(":") for line in config.header)
    return [
        (name.strip().lower().encode("ascii"), value.strip().encode("latin-1"))
        for name, _, value in parts
    ]


def settings(config: Config) -> tuple[Any, ...]:
    """The arguments of granian's `ASGIWorker`, from the number of its threads on."""
    import resource

    from granian.http import HTTP1Settings, HTTP2Settings

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = config.limit_connections or max(int(min(soft, 1 << 20) * 0.9), 1)
    http1 = HTTP1Settings(
        # Of both a head and the pause before it: granian has one time for the two.
        header_read_timeout=max(int(1000 * config.timeout_keep_alive), 1),
        keep_alive=config.timeout_keep_alive > 0,
        max_buffer_size=max(config.limit_head, 8192),
    )
    http2 = HTTP2Settings(max_headers_size=config.limit_head)
    certificate = config.ssl_certfile or None
    return (
        1,  # thread
        512,  # threads for files, at the most
        1,
        30,
        connections,
        "auto",
        http1,
        http2,
        True,  # WebSockets
        None,  # static files
        certificate is not None,
        certificate,
        (config.ssl_keyfile or certificate) if certificate else None,
        config.ssl_keyfile_password or None,
        "tls1.2",
        config.ssl_ca_certs if config.ssl_cert_reqs else None,
        [],
        config.ssl_cert_reqs == 2,
        (None, None),
    )
