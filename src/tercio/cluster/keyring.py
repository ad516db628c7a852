"""Secrets that all workers agree on: given from outside, or made once and kept in the state.

In this order: the variable ``TERCIO_SECRET_<NAME>``, a file of that name in ``--secrets-dir``, the
state that workers share (Redis, ``--state-dir``, or this cluster's memory, where a random one is
put by whoever asks first).
"""

import logging
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from tercio.errors import ConfigError

_log = logging.getLogger("tercio.cluster")

_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TRIES: Final = 100  # each is lost to a rotation at the same moment
_MOST_BYTES: Final = 64 * 1024


class Store(Protocol):
    """The part of the shared state that keeps secrets."""

    def get(self, key: str) -> object: ...

    def compare_and_set(self, key: str, expected: object, new: object) -> bool: ...


class Secrets:
    """Finds secrets by name."""

    def __init__(
        self,
        store: Store,
        directory: str = "",
        *,
        is_remote: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """``directory`` is that of --secrets-dir; ``is_remote``: the store is a server."""
        self._store = store
        self._directory = directory
        self._is_remote = is_remote
        self._environ = environ
        self._warned: set[str] = set()

    def history(self, name: str) -> tuple[str, ...]:
        """The secret and those before it that are still good, the newest first.

        Raises `ConfigError` for a name that is none, or a file that cannot be read.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"secret {name!r}: expected up to 100 letters, digits, dots, dashes, underscores"
            )
        if (given := self._given(name)) is not None:
            return (given,)
        for _ in range(_TRIES):
            known = self._store.get(name)
            if isinstance(known, list) and known:
                return tuple(map(str, known))
            self._warn(name)
            made = [secrets.token_hex(_BYTES)]
            if self._store.compare_and_set(name, known, made):
                return tuple(made)
        raise ConfigError(f"secret {name!r} was replaced {_TRIES} times while it was made")

    def rotate(self, name: str, keep: int = 1) -> str:
        """Make a new secret, keep ``keep`` of the old ones good, and return the new one.

        Raises `ConfigError` for one that is given from outside.
        """
        if keep < 0:
            raise ValueError("keep must not be negative")
        if self._given(name) is not None:
            raise ConfigError(
                f"secret {name!r} is given by a variable or a file: change it there, and reload"
            )
        for _ in range(_TRIES):
            old = list(self.history(name))
            new = [secrets.token_hex(_BYTES), *old[:keep]]
            if self._store.compare_and_set(name, old, new):
                return new[0]
        raise ConfigError(f"secret {name!r} was replaced {_TRIES} times while it was rotated")

    def _given(self, name: str) -> str | None:
        variable = "TERCIO_SECRET_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        if value := self._environ.get(variable):
            return value
        if not self._directory:
            return None
        path = Path(self._directory) / name
        try:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"secret {name!r}: {path}: {error.strerror}") from error
        text = content.decode(errors="surrogateescape").rstrip("\r\n")
        if not text or len(content) > _MOST_BYTES:
            raise ConfigError(f"secret {name!r}: {path}: expected 1 to {_MOST_BYTES} bytes")
        return text

    def _warn(self, name: str) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        if self._is_remote:
            _log.warning(
                "secret %r is made at random and kept in Redis, where others may read it; "
                "give it by a variable or --secrets-dir",
                name,
            )
        elif "KUBERNETES_SERVICE_HOST" in self._environ:
            _log.warning(
                "secret %r is made at random, so each pod has its own and a restart changes it; "
                "give it by a variable or --secrets-dir",
                name,
            )
