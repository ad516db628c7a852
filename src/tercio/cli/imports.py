"""`tercio config import`: make a tercio.toml of another server's configuration.

What has an equivalent becomes a key, and what has none a comment that says what to do. Nothing is
guessed in silence: whoever reads the result knows what their old file said and what is left of it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from tercio.cli.text import escape, say
from tercio.config import OPTIONS
from tercio.errors import ConfigError
from tercio.options.kinds import Refused
from tercio.settings.files import open_regular

_LARGEST: int = 1 << 20


@dataclass(slots=True)
class Imported:
    """What was made of a file, in the order of the file."""

    source: str
    lines: list[tuple[str, object, str]] = field(default_factory=list)
    """Key, value, and a remark behind it."""
    left: list[str] = field(default_factory=list)
    """What was not taken over, and what to do instead."""
    notes: list[str] = field(default_factory=list)

    def take(self, key: str, value: object, remark: str = "", *, name: str = "") -> None:
        """Set one of our keys; what it does not allow is left, with the reason.

        ``name`` is what it was called, if the remark says something else.
        """
        option = OPTIONS[key.replace("-", "_")]
        try:
            option.kind.parse(value)
        except Refused as refused:
            reason = f" ({refused.reason})" if refused.reason else ""
            expected = f"expected {option.kind.allowed}{reason}"
            self.left.append(f"{name or remark or key}: {value!r} is no {key}: {expected}")
            return
        self.lines = [line for line in self.lines if line[0] != key]
        self.lines.append((key, value, remark))

    def take_if_known(self, key: str, value: object, remark: str, instead: str) -> None:
        """Set a key that not every version has; ``instead`` says what to do without it."""
        if key.replace("-", "_") in OPTIONS:
            self.take(key, value, remark)
        else:
            self.leave(remark, instead)

    def leave(self, what: str, instead: str) -> None:
        """Say that something was not taken over."""
        self.left.append(f"{what}: {instead}")

    def toml(self) -> Iterator[str]:
        """The file, line by line."""
        yield f"# Made from {self.source} by `tercio config import`; flags win over it."
        for note in self.notes:
            yield f"# {note}"
        yield ""
        for key, value, remark in self.lines:
            text = f"{key} = {_toml(value)}"
            yield f"{text}  # {remark}" if remark and remark != key.replace("-", "_") else text
        if self.left:
            yield ""
            yield "# Not taken over:"
            for line in self.left:
                yield f"# - {line}"


def read_text(path: str) -> str:
    """A file that was named on the command line. Raises `ConfigError`."""
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise ConfigError(f"{path!r} is larger than 1 MiB: is it a configuration?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path!r}: expected UTF-8 text; {error.reason}") from error


@click.command("import")
@click.argument("file", type=click.Path())
@click.option("--app", "app", metavar="NAME", help="Which of PM2's applications.")
def command(file: str, app: str | None) -> None:
    """Print a tercio.toml made from FILE: gunicorn.conf.py or PM2's ecosystem.config.json.

    What has no equivalent is in comments. gunicorn's file is a Python program, and is executed:
    in a process of its own, with limits of time, memory and disk.

    \b
    Example:
      tercio config import gunicorn.conf.py > tercio.toml
      tercio check            # does the application load with it?
    """
    name = os.path.basename(file)
    match Path(file).suffix:
        case ".py":
            from tercio.cli import gunicorn_conf

            read_text(file)  # what cannot be read is said here, not by a process
            imported = gunicorn_conf.read(file)
        case ".json":
            from tercio.cli import ecosystem

            imported = ecosystem.read(name, read_text(file), app)
        case ".js" | ".cjs" | ".mjs":
            raise ConfigError(
                f"{name} is a JavaScript program; let Node print what it says, and import that:\n"
                f"  node -e \"console.log(JSON.stringify(require('./{name}')))\" > ecosystem.json\n"
                "  tercio config import ecosystem.json"
            )
        case ".toml":
            raise ConfigError(f"{name}: this is read as it is: tercio run --config {name}")
        case _:
            raise ConfigError(
                f"{name}: expected gunicorn.conf.py or ecosystem.config.json; "
                "convert YAML and INI to one of them first"
            )
    for line in imported.toml():
        click.echo(escape(line))
    taken, left = len(imported.lines), len(imported.left)
    say(f"{taken} settings taken over, {left} not (see the comments)", err=True)


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            # JSON's escapes are TOML's, but for DEL and what ensure_ascii would make.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def names(table: Mapping[str, object]) -> str:
    """Names of variables, never their values: a value may be a secret."""
    return ", ".join(sorted(table))
