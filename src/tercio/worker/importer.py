"""Import the application that was named on the command line.

A failure is told in the application's terms: its own frames, and what could have been meant.
"""

import difflib
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Final, cast

from tercio.errors import AppNotFound
from tercio.servers.interface import detect
from tercio.worker.places import TERCIO, resolved

_USUAL_NAMES: Final = ("app", "application")
_SUGGESTIONS: Final = 8


def load(target: str, app_dir: str = "", *, factory: bool = False) -> object:
    """The application at ``MODULE:ATTRIBUTE``.

    Raises `AppNotFound`, and whatever the application's own code raises.
    """
    directory = put_on_path(app_dir)
    name, attributes = _parts(target)
    module = _import(name, directory)
    found = _attribute(module, attributes)
    if not callable(found):
        raise AppNotFound(
            f"{target!r} is a {type(found).__name__}, not an application{_meant(module)}"
        )
    if not factory:
        return found
    app = cast("Callable[[], object]", found)()
    if not callable(app):
        raise AppNotFound(f"{target!r} was called and returned {app!r}, not an application")
    return app


def put_on_path(app_dir: str) -> str:
    """Make ``app_dir``, or the working directory, the first place to import from.

    Resolved now, once: with releases behind a link (``current -> r2``) a later import must not
    take a file of the next release.
    """
    directory = os.path.realpath(app_dir or os.curdir)
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    return directory


def explain(error: BaseException) -> str:
    """The traceback of a failed import, beginning at the application's own frames."""
    chained: BaseException | None = error
    seen: set[int] = set()  # application code can tie a chain into a ring
    while chained is not None and id(chained) not in seen:
        seen.add(id(chained))
        chained.__traceback__ = _without_ours(chained.__traceback__)
        chained = chained.__cause__ or chained.__context__
    return "".join(traceback.format_exception(error))


def in_a_line(error: BaseException) -> str:
    """``ValueError: no such host``"""
    parts = traceback.format_exception_only(error)
    # A SyntaxError tells its place first, indented; a long message has its gist in the first line.
    gist = next((part for part in parts if not part.startswith("  ")), parts[-1])
    return gist.strip().partition("\n")[0]


def _parts(target: str) -> tuple[str, str]:
    name, _, attributes = target.partition(":")
    if attributes.endswith("()"):
        raise AppNotFound(f"{target!r}: write {target[:-2]!r} and add --factory")
    if not name or os.sep in name:
        module = name.removesuffix(".py").strip(os.curdir + os.sep).replace(os.sep, ".")
        raise AppNotFound(
            f"{target!r} is not MODULE:ATTRIBUTE; did you mean {module}:{attributes or 'app'}?"
        )
    if name.endswith(".py"):
        name = name.removesuffix(".py")
        raise AppNotFound(f"{target!r} names a file; write {name}:{attributes or 'app'}")
    return name, attributes


def _import(name: str, directory: str) -> ModuleType:
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        # Only if it is the named module that is missing, not one that the application imports.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        near = difflib.get_close_matches(error.name, _modules_in(directory), 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else " (see --app-dir)"
        raise AppNotFound(f"no module named {error.name!r} in {directory}{hint}") from None
    return sys.modules[name]


def _attribute(module: ModuleType, attributes: str) -> object:
    if not attributes:
        for name in _USUAL_NAMES:
            if hasattr(module, name):
                return getattr(module, name)
        raise AppNotFound(f"name the application: {module.__name__}:ATTRIBUTE{_meant(module)}")
    try:
        return functools.reduce(getattr, attributes.split("."), cast("object", module))
    except AttributeError:
        raise AppNotFound(
            f"module {module.__name__!r} has no {attributes!r}{_meant(module, attributes)}"
        ) from None


def _meant(module: ModuleType, wrong: str = "") -> str:
    found = list(callables(module))
    near = difflib.get_close_matches(wrong, found, len(found) or 1, 0.0)
    if not found:
        return "; it defines nothing that could be one"
    return f"; callables found there: {', '.join(near[:_SUGGESTIONS] or found[:_SUGGESTIONS])}"


def callables(module: ModuleType) -> Iterator[str]:
    """Names in a module that may be applications or, with --factory, make one."""
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.isclass(value) or inspect.ismodule(value):
            continue
        if not callable(value):
            continue
        is_own = getattr(value, "__module__", None) == module.__name__
        if inspect.isroutine(value):
            if is_own and (_takes_nothing(value) or _takes_request(value)):
                yield name
        elif _takes_request(value):  # an instance of a framework's class
            yield name


def _takes_request(value: object) -> bool:
    try:
        parameters = inspect.signature(cast("Callable[..., object]", value)).parameters
    except (TypeError, ValueError):
        return False
    return len(parameters) in (2, 3) and detect(value) in ("asgi", "wsgi")


def _takes_nothing(value: object) -> bool:
    try:
        parameters = inspect.signature(cast("Callable[..., object]", value)).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(
        parameter.default is not inspect.Parameter.empty
        or parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for parameter in parameters
    )


def _modules_in(directory: str) -> list[str]:
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    return [entry.removesuffix(".py") for entry in entries if not entry.startswith((".", "_"))]


def _without_ours(frames: TracebackType | None) -> TracebackType | None:
    """Skip the frames that lead to the application: ours, and the import machinery's."""
    while frames is not None:
        filename = frames.tb_frame.f_code.co_filename
        is_importer = filename.startswith("<frozen importlib")
        if not is_importer and not resolved(filename).startswith(TERCIO):
            break
        frames = frames.tb_next
    return frames
