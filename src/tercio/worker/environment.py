"""Set the variables of ``--env-file``, where they are not set yet."""

import os
from collections.abc import Iterable

from tercio.errors import ConfigError


def load(files: Iterable[str]) -> None:
    """Read the files in order; a variable keeps the first value that it got.

    Each worker reads them anew, so a reload takes what changed. Raises `ConfigError`.
    """
    for file in files:
        try:
            from dotenv import load_dotenv
        except ImportError as error:
            raise ConfigError(
                "--env-file needs python-dotenv: pip install 'tercio[env]'"
            ) from error
        if not os.path.isfile(file):
            raise ConfigError(f"--env-file {file}: there is no such file")
        try:
            load_dotenv(file, override=False)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--env-file {file} cannot be read: {error}") from error
