"""Find the application of a Django project, for a `tercio run` that names none.

Reads ``manage.py`` and the settings that it names, and runs neither: the primary runs no code of
an application.
"""

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tercio.errors import ConfigError

VARIABLE: Final = "DJANGO_SETTINGS_MODULE"
_NAMES: Final = ("ASGI_APPLICATION", "WSGI_APPLICATION")
"""Of the settings; the first one that is set is the application."""
_MOST_FILES: Final = 20  # of settings that take over others by `from .base import *`
_HINT: Final = "name the application: tercio run mysite.wsgi:application"


@dataclass(frozen=True, slots=True)
class Project:
    """What was found."""

    app: str
    origin: str
    """Where it says so: ``WSGI_APPLICATION in mysite.settings``."""


def find(directory: str, environ: Mapping[str, str]) -> Project | None:
    """The application of the project in ``directory``; None where there is none.

    Raises `ConfigError` where there is one that does not say.
    """
    manage = os.path.join(directory, "manage.py")
    if not os.path.isfile(manage):
        return None
    module = environ.get(VARIABLE) or _settings_of(_parse(manage))
    if not module:
        raise ConfigError(f"app: manage.py here names no {VARIABLE} as text; {_HINT}")
    found = _texts(directory, module, set())
    for name in _NAMES:
        if value := found.get(name):
            package, _, attribute = value.rpartition(".")
            if not package:
                raise ConfigError(f"app: {name}={value!r} in {module} has no module; {_HINT}")
            return Project(f"{package}:{attribute}", f"{name} in {module}")
    raise ConfigError(
        f"app: the settings {module} set neither {_NAMES[0]} nor {_NAMES[1]} to a text; {_HINT}"
    )


def _settings_of(tree: ast.Module) -> str | None:
    """The text of ``os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)``, or of an assignment."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setdefault"),
                args=[ast.Constant(value=name), ast.Constant(value=str(module))],
            ) if name == VARIABLE:
                return module
            case ast.Assign(
                targets=[ast.Subscript(slice=ast.Constant(value=name))],
                value=ast.Constant(value=str(module)),
            ) if name == VARIABLE:
                return module
    return None


def _texts(directory: str, module: str, seen: set[str]) -> dict[str, str]:
    """The two settings as the module's last statements leave them."""
    found: dict[str, str] = {}
    path = _path(directory, module)
    if path is None or module in seen or len(seen) >= _MOST_FILES:
        if not seen:
            raise ConfigError(f"app: the settings {module} are not below {directory}; {_HINT}")
        return found  # of an installed package, or read already
    seen.add(module)
    for node in _statements(_parse(path).body):
        match node:
            case ast.ImportFrom(names=[ast.alias(name="*")], module=base, level=level):
                found |= _texts(directory, _absolute(module, path, base, level), seen)
            case ast.Assign(targets=targets, value=ast.Constant(value=None | str() as value)):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id in _NAMES:
                        found[target.id] = value or ""
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))) if (
                name in _NAMES
            ):
                found[name] = text
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those at the top; of a `try` those that come first. What an `if` decides we don't know."""
    for node in body:
        if isinstance(node, ast.Try):
            yield from _statements(node.body)
        else:
            yield node


def _absolute(module: str, path: str, base: str | None, level: int) -> str:
    if not level:
        return base or ""
    is_package = os.path.basename(path) == "__init__.py"
    parts = module.split(".")
    kept = parts[: len(parts) - level + is_package]
    return ".".join([*kept, *([base] if base else [])])


def _path(directory: str, module: str) -> str | None:
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    base = os.path.join(directory, *module.split("."))
    for path in (f"{base}.py", os.path.join(base, "__init__.py")):
        if os.path.isfile(path):
            return path
    return None


def _parse(path: str) -> ast.Module:
    try:
        with open(path, "rb") as file:
            return ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ConfigError(f"app: {path} cannot be read: {error}; {_HINT}") from error
