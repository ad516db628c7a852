"""Which directories a unit gives the service to write to: those that its own options name.

All else is read-only for it (`ProtectSystem=strict`), and its /tmp is seen by nobody else.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tercio.config import Config
from tercio.errors import ConfigError

_MADE: Final = {
    "/run": "RuntimeDirectory",
    "/var/lib": "StateDirectory",
    "/var/cache": "CacheDirectory",
    "/var/log": "LogsDirectory",
}
"""Below these systemd makes directories for the service's user, who owns none of themselves."""

_TEMPORARY: Final = ("/tmp", "/var/tmp")


@dataclass(frozen=True, slots=True)
class Written:
    """A path that an option has the service write to."""

    flag: str
    path: str
    is_directory: bool = False

    @property
    def directory(self) -> str:
        """The one that must be writable."""
        return self.path if self.is_directory else os.path.dirname(self.path)


def written(config: Config, cwd: str, *, binds: bool) -> Iterator[Written]:
    """All of them. ``binds``: the service makes the sockets of its own addresses."""
    named = [
        ("--error-log-file", config.error_log_file),
        ("--access-log-file", config.access_log_file),
        ("--pid-file", config.pid_file),
        ("--health", _socket(config.health)),
        ("--admin", _socket(config.admin)),
        *(("--bind", _socket(bind)) for bind in config.binds if binds),
    ]
    for flag, path in named:
        if path:
            yield Written(flag, os.path.normpath(os.path.join(cwd, path)))
    if config.state_dir:
        path = os.path.normpath(os.path.join(cwd, config.state_dir))
        yield Written("--state-dir", path, is_directory=True)


def lines(name: str, config: Config, cwd: str, *, binds: bool) -> Iterator[str]:
    """The lines of the unit. Raises `ConfigError` for a path that cannot work in a service."""
    made: dict[str, list[str]] = {key: [] for key in _MADE.values()}
    made["RuntimeDirectory"].append(f"tercio-{name}")
    elsewhere: dict[str, None] = {}
    for each in written(config, cwd, binds=binds):
        _check(each, name, is_dynamic=not config.user)
        base = next((base for base in _MADE if each.directory.startswith(base + "/")), None)
        if base is None:
            elsewhere[each.directory] = None
            continue
        inner = each.directory[len(base) + 1 :]
        if inner not in made[_MADE[base]]:
            made[_MADE[base]].append(inner)
    for key, directories in made.items():
        if directories:
            yield f"{key}={' '.join(map(_word, directories))}"
    if config.state_dir and made["StateDirectory"]:
        yield "StateDirectoryMode=0700"
    if elsewhere:
        yield "# These have to be there, and be the user's."
        yield f"ReadWritePaths={' '.join(map(_word, elsewhere))}"


def _check(each: Written, name: str, *, is_dynamic: bool) -> None:
    where = f"{each.flag} {each.path}"
    if each.directory.startswith(_TEMPORARY):
        raise ConfigError(
            f"{where}: a service has a /tmp of its own, which nobody else sees and which ends with "
            f"it; take {_better(each, name)}"
        )
    if each.directory in _MADE:
        raise ConfigError(
            f"{where}: the service's user cannot write to {each.directory} itself; "
            f"take {_better(each, name)}"
        )
    is_made = each.directory.startswith(tuple(base + "/" for base in _MADE))
    if is_dynamic and not is_made:
        raise ConfigError(
            f"{where}: a user that exists only while the service runs can own nothing there; "
            f"take {_better(each, name)}, or name a user with --user"
        )
    if is_dynamic and each.is_directory and each.directory.count("/") == 3:
        # For such a user systemd makes a link there.
        raise ConfigError(f"{where}: take {each.path}/state: without --user, this one is a link")


def _better(each: Written, name: str) -> str:
    if each.is_directory:
        return f"/var/lib/{name}/state"
    base = "/var/log" if each.flag.endswith("-log-file") else "/run"
    return f"{base}/{name}/{os.path.basename(each.path)}"


def _socket(address: str) -> str:
    return address.removeprefix("unix:") if address.startswith("unix:") else ""


def _word(path: str) -> str:
    """One word of a list of paths: quotes and percent signs mean something there."""
    escaped = path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if any(letter in path for letter in " \t'\"\\") else escaped
