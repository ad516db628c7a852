"""Read the file of ``--log-config``: JSON or TOML for `logging.config.dictConfig`, or its ini form.

What it says is `logging`'s business; it takes effect in workers, for it may name any code.
"""

import configparser
import json

from tercio.errors import ConfigError
from tercio.settings.files import open_regular

_LARGEST_BYTES = 1 << 20

LogConfig = dict[str, object] | configparser.RawConfigParser


def read_log_config(path: str, shown: str) -> LogConfig:
    """What the file says. Raises `ConfigError`, with ``shown`` as its name."""
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            raise OSError(0, f"it is larger than {_LARGEST_BYTES} bytes")
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise ConfigError(f"{shown}: expected a file of UTF-8 text; {reason}") from error
    name = path.lower()
    if name.endswith((".ini", ".conf", ".cfg")):
        return _ini(text, shown)
    if name.endswith((".yaml", ".yml")):
        raise ConfigError(f"{shown}: expected JSON, TOML or ini; write the YAML as one of them")
    values = _toml(text, shown) if name.endswith(".toml") else _json(text, shown)
    if not isinstance(values, dict) or values.get("version") != 1:
        raise ConfigError(f"{shown}: expected a table with version = 1 (see logging.config)")
    return values


def _json(text: str, shown: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{shown}: expected JSON; {error}") from error


def _toml(text: str, shown: str) -> object:
    import tomllib  # here: few have such a file

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{shown}: expected TOML; {error}") from error


def _ini(text: str, shown: str) -> configparser.RawConfigParser:
    # As logging.config.fileConfig does it; what this parser takes, that takes.
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text, shown)
        has_all = all(parser.has_section(name) for name in ("loggers", "handlers", "formatters"))
    except configparser.Error as error:
        raise ConfigError(f"{shown}: expected an ini file; {error.message}") from error
    if not has_all:
        raise ConfigError(f"{shown}: expected sections loggers, handlers and formatters")
    return parser
