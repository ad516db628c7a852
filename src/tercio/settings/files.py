"""Read configuration files: ``tercio.toml``, ``[tool.tercio]`` and environment files.

Knows the line of each key, for error messages; what keys mean is `settings`' job.
"""

import io
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from tercio.errors import ConfigError

_LARGEST_BYTES = 1 << 20
_CUSTOMARY = ("tercio.toml", "pyproject.toml")
_FOREIGN = {".py": "gunicorn's", ".json": "PM2's", ".js": "PM2's", ".cjs": "PM2's"}


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The table of options that a file holds.

    Its lines are those of TOML: ``splitlines`` would also split at U+2028 inside of a string.
    """

    path: str = ""
    shown: str = ""
    table: Mapping[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    """The table that the options stand in: ``("tool", "tercio")`` in pyproject.toml."""

    def place(self, key: str) -> str:
        """``tercio.toml:3``, or the bare name where the line is not found."""
        line = _line_of(self.lines, self.header, key)
        return f"{self.shown}:{line}" if line else self.shown


def read_config_file(
    named: str, asked: str, cwd: str, warnings: list[str], expected: Collection[str] = ()
) -> ConfigFile:
    """The file that was named, else ``tercio.toml``, else ``[tool.tercio]`` of pyproject.toml.

    ``asked`` says who named it: ``--config `` or ``environment: TERCIO_CONFIG=``. One that nobody
    named need not be there, unless it is ``expected``.
    """
    if named:
        return _read(named, cwd, asked)
    for name in _CUSTOMARY:
        # Its options would all go back to their defaults, and nobody asked for that.
        if name in expected and not os.path.lexists(os.path.join(cwd, name)):
            raise ConfigError(
                f"{name} was read at the start and is gone; put it back, or an empty one to mean it"
            )
    own, project = (_read(name, cwd) for name in _CUSTOMARY)
    if own.path and project.table:
        warnings.append("tercio.toml is used; [tool.tercio] in pyproject.toml is ignored")
    return own if own.path else project if project.table else ConfigFile()


def _read(named: str, cwd: str, asked: str = "") -> ConfigFile:
    path = os.path.join(cwd, named)
    shown = _printable(named)
    if (suffix := os.path.splitext(named)[1]) in _FOREIGN:
        raise ConfigError(
            f"{asked}{named!r}: expected a TOML file; "
            f"`tercio config import {shown} > tercio.toml` makes one of {_FOREIGN[suffix]}"
        )
    is_project = os.path.basename(named) == "pyproject.toml"
    try:
        text = _read_text(path)
    except FileNotFoundError as error:
        if not asked:
            return ConfigFile()
        raise ConfigError(f"{asked}{named!r}: expected a TOML file; it is not there") from error
    except OSError as error:
        raise ConfigError(f"{shown}: expected a readable file; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: expected UTF-8 text; {error.reason}") from error
    # A project's file without our section is none of our business, not even its mistakes.
    if is_project and not asked and "tercio" not in text:
        return ConfigFile()
    header = ("tool", "tercio") if is_project else ()
    table: object = _parse(text, named, shown)
    for word in header:
        table = table.get(word, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{shown}: tool.tercio = {table!r}: expected a table, [tool.tercio]")
    return ConfigFile(path, shown, table, tuple(text.split("\n")), header)


def open_regular(path: str) -> BinaryIO:
    """Open a file to read; `OSError` for what is no regular file.

    A FIFO, a device or a terminal would hold us for ever, and a reload could not read it again.
    """
    # Without O_NONBLOCK it is `open` itself that waits for a writer.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is not a regular file")
    return open(fd, "rb")


def read_secret(path: str) -> str:
    """The text of a file that holds one secret, without the line end that editors add."""
    return _read_text(path).removesuffix("\n").removesuffix("\r")


def _read_text(path: str) -> str:
    with open_regular(path) as file:
        data = file.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise OSError(0, f"it is larger than {_LARGEST_BYTES} bytes")
    return data.decode()


def _parse(text: str, named: str, shown: str) -> dict[str, object]:
    import tomllib  # here: most starts have no file, and the import costs more than the rest

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = ""
        if named.endswith(".py"):
            hint = "; gunicorn's Python files are not read, write their settings as TOML"
        # "… (at line 3, column 9)" as tomllib ends its messages
        found = re.fullmatch(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", str(error), re.DOTALL)
        if found is None:
            lines = text.count("\n") + 1
            message = str(error).removesuffix(" (at end of document)")
            raise ConfigError(f"{shown}:{lines}: expected TOML; {message}{hint}") from error
        line = text.split("\n")[int(found[2]) - 1].strip()[:80]
        quoted = "***" if is_secret(line) else repr(line)
        message = f"{shown}:{found[2]}: {quoted}: expected TOML; {found[1]}{hint}"
        raise ConfigError(message) from error
    except RecursionError as error:
        raise ConfigError(f"{shown}: expected TOML; it is nested too deeply") from error


def _line_of(lines: tuple[str, ...], header: tuple[str, ...], key: str) -> int:
    """The number of the line that sets ``key`` in the table ``header``; 0 if it is not seen."""
    import tomllib

    table: tuple[str, ...] = ()
    for number, line in enumerate(lines, 1):
        opened = re.match(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$", line)
        words = _words(opened[1]) if opened else ()
        assigned = re.match(r"\s*([^=#\[\]]+?)\s*=", line)
        path = words if opened else table + _words(assigned[1]) if assigned else ()
        wanted = (*header, key)
        if not opened and path[: len(wanted)] != wanted:
            continue
        # Inside of a multi-line string a line only looks like a key: what precedes must parse.
        try:
            tomllib.loads("".join(f"{one}\n" for one in lines[: number - 1]))
        except tomllib.TOMLDecodeError:
            continue
        if path[: len(wanted)] == wanted:
            return number
        table = words
    return 0


def is_secret(text: str) -> bool:
    """Whether a key, or a line with one, looks like one that should not be repeated."""
    return re.search("password|passwd|secret|token|pasword", text, re.IGNORECASE) is not None


def _printable(path: str) -> str:
    return path if path.isprintable() else ascii(path)


def _words(dotted: str) -> tuple[str, ...]:
    return tuple(word.strip().strip("\"'") for word in dotted.split("."))


def read_env_file(named: str, asked: str, cwd: str) -> dict[str, str]:
    """The variables of a ``.env`` file, in order; needs python-dotenv."""
    try:
        from dotenv import dotenv_values
        from dotenv.parser import parse_stream
    except ImportError as error:
        raise ConfigError(
            f"{asked}{named!r}: expected python-dotenv to be installed; "
            "run: pip install 'tercio[env]'"
        ) from error
    try:
        text = _read_text(os.path.join(cwd, named))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise ConfigError(f"{asked}{named!r}: expected a file of UTF-8 text; {reason}") from error
    # dotenv_values() only logs what it cannot read, and leaves it out.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            # Not the line itself: these files are made of secrets.
            raise ConfigError(f"{_printable(named)}:{binding.original.line}: expected NAME=VALUE")
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in found.items() if value is not None}
