"""Where each generation is loaded from: with ``--release-dir`` a directory of its own.

A deployment moves a link (``current -> r2``) and reloads. What the link pointed to when a
generation began stays that generation's directory, so that a worker of it that is started later,
after a rejected reload too, loads the same files.
"""

import os

from tercio.errors import ConfigError


class Releases:
    """The directories of the generations."""

    def __init__(self, cwd: str) -> None:
        """``cwd`` is where the command was given; relative links begin there."""
        self._cwd = cwd
        self._resolved: dict[int, str] = {}

    def check(self, link: str) -> None:
        """Raises `ConfigError` if there is no directory behind the link now."""
        if link and not os.path.isdir(os.path.join(self._cwd, link)):
            raise ConfigError(f"--release-dir {link}: there is no such directory")

    def of(self, generation: int, link: str) -> str:
        """The working directory of a generation; asked the first time, the link is followed."""
        if not link:
            # As named, not as resolved: a deployment that moves a link is followed.
            return self._cwd
        if generation not in self._resolved:
            self._resolved[generation] = os.path.realpath(os.path.join(self._cwd, link))
        return self._resolved[generation]

    def known(self, generation: int) -> str | None:
        """The directory of a generation, if it has one of its own."""
        return self._resolved.get(generation)

    def forget_before(self, generation: int) -> None:
        """Nothing of an older generation is started any more."""
        for number in [each for each in self._resolved if each < generation]:
            del self._resolved[number]
