"""Apply ``--log-config``, before the application is imported: its own configuration wins."""

import logging.config
from configparser import RawConfigParser

from tercio.errors import ConfigError
from tercio.settings.logconfig import read_log_config


def apply(path: str) -> None:
    """Configure logging with this file. Raises `ConfigError`."""
    shown = f"--log-config {path}"
    values = read_log_config(path, shown)
    try:
        if isinstance(values, RawConfigParser):
            # Loggers that are not named go on, ours among them.
            logging.config.fileConfig(values, disable_existing_loggers=False)
        else:
            logging.config.dictConfig(values)
    except Exception as error:  # it may import and call anything
        cause = error.__cause__
        reason = f"{error}: {cause}" if cause is not None else error
        raise ConfigError(f"{shown}: logging cannot be configured so; {reason}") from error
