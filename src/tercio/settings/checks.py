"""Check options against each other and against the files they name.

Each kind of value was already checked by itself; a check here yields a whole error message.
"""

import os
from collections.abc import Iterator, Mapping

from tercio.config import OPTIONS, Config
from tercio.errors import ConfigError
from tercio.settings.admin import admin_checks
from tercio.settings.files import open_regular
from tercio.settings.logconfig import read_log_config


def cross_checks(
    config: Config, origins: Mapping[str, str], cwd: str, *, require_app: bool
) -> Iterator[str]:
    """A message for each contradiction; ``origins`` has the fields that were given."""
    cwd = os.path.join(cwd, config.chdir)
    if config.chdir and not os.path.isdir(cwd):
        yield f"{_shown('chdir', config, origins)}: expected a directory; there is none"
        return
    if require_app and not config.app:
        yield "app: expected the application, MODULE:ATTRIBUTE: tercio run shop.main:app"
    if isinstance(config.workers, int) and 0 < config.max_workers < config.workers:
        yield (
            f"{_shown('workers', config, origins)}: expected at most "
            f"{_shown('max_workers', config, origins)}"
        )
    if config.backoff_base > config.backoff_cap:
        yield (
            f"{_shown('backoff_base', config, origins)}: expected at most "
            f"{_shown('backoff_cap', config, origins)}"
        )
    if config.app_dir and not os.path.isdir(os.path.join(cwd, config.app_dir)):
        yield f"{_shown('app_dir', config, origins)}: expected a directory; there is none"
    yield from _callable(config, origins)
    yield from _logs(config, origins, cwd)
    yield from _sticky(config, origins)
    yield from _tls(config, origins, cwd)
    yield from admin_checks(config, cwd)


def _callable(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    if config.interface != "callable":
        return
    for name in ("server", "ready_path", "sticky", "ssl_certfile", "limit_max_requests"):
        if getattr(config, name) != OPTIONS[name].default:
            yield (
                f"{_shown(name, config, origins)}: expected an application that speaks HTTP; "
                f"{_shown('interface', config, origins)} does not"
            )


def _logs(config: Config, origins: Mapping[str, str], cwd: str) -> Iterator[str]:
    if config.log_format == "json" and config.access_log_format:
        yield (
            f"{_shown('access_log_format', config, origins)}: expected log-format = 'text' beside "
            "it; a JSON line has all fields"
        )
    if config.log_config:
        try:
            read_log_config(
                os.path.join(cwd, config.log_config), _shown("log_config", config, origins)
            )
        except ConfigError as error:
            yield str(error)


def _sticky(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    if not config.sticky:
        return
    if config.server != "tercio":
        yield (
            f"{_shown('sticky', config, origins)}: expected the server 'tercio', which can bring a "
            f"request to another worker; {_shown('server', config, origins)} cannot"
        )
    if config.ssl_certfile:
        yield (
            f"{_shown('sticky', config, origins)}: expected no TLS here, as a connection with TLS "
            "cannot move: let a proxy end it, or keep sessions in cluster.state"
        )


def _tls(config: Config, origins: Mapping[str, str], cwd: str) -> Iterator[str]:
    if not config.ssl_certfile:
        for name in ("ssl_keyfile", "ssl_ca_certs", "ssl_ciphers", "ssl_cert_reqs"):
            if getattr(config, name) != OPTIONS[name].default:
                yield f"{_shown(name, config, origins)}: expected ssl-certfile beside it"
        return
    if config.ssl_cert_reqs and not config.ssl_ca_certs:
        yield (
            f"{_shown('ssl_cert_reqs', config, origins)}: expected ssl-ca-certs beside it, "
            "to check client certificates with"
        )
    unreadable = False
    for name in ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"):
        if path := getattr(config, name):
            try:
                with open_regular(os.path.join(cwd, path)) as file:
                    file.read(1)
            except OSError as error:
                unreadable = True
                yield (
                    f"{_shown(name, config, origins)}: expected a readable file; {error.strerror}"
                )
    if not unreadable:
        yield from _certificates(config, origins, cwd)


def _certificates(config: Config, origins: Mapping[str, str], cwd: str) -> Iterator[str]:
    """Load them as a worker would, so that a wrong key is found before the old one is let go."""
    import ssl  # here: only a cluster that serves TLS pays for it

    def at(path: str) -> str:
        return os.path.join(cwd, path)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password function, since without one OpenSSL would ask the terminal.
        context.load_cert_chain(
            at(config.ssl_certfile),
            at(config.ssl_keyfile) if config.ssl_keyfile else None,
            lambda: config.ssl_keyfile_password,
        )
    except (OSError, ValueError) as error:
        name = "ssl_keyfile" if config.ssl_keyfile else "ssl_certfile"
        yield (
            f"{_shown('ssl_certfile', config, origins)}: expected a certificate and its key; "
            f"{_ssl_reason(error)} (see {OPTIONS[name].key} and ssl-keyfile-password)"
        )
    if config.ssl_ca_certs:
        try:
            context.load_verify_locations(at(config.ssl_ca_certs))
        except (OSError, ValueError) as error:
            yield (
                f"{_shown('ssl_ca_certs', config, origins)}: expected certificates in PEM; "
                f"{_ssl_reason(error)}"
            )
    if config.ssl_ciphers:
        try:
            context.set_ciphers(config.ssl_ciphers)
        except ssl.SSLError as error:
            yield (
                f"{_shown('ssl_ciphers', config, origins)}: expected OpenSSL's cipher list; "
                f"{_ssl_reason(error)}"
            )


def _ssl_reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error) or "it does not load"


def _shown(name: str, config: Config, origins: Mapping[str, str]) -> str:
    option = OPTIONS[name]
    origin = origins.get(name, "default")
    value = repr(option.show(getattr(config, name)))
    # For a flag the origin is the key.
    return f"{origin} {value}" if origin.startswith("--") else f"{origin}: {option.key} = {value}"
