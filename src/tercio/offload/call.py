"""What goes to a child process and what comes back, as bytes.

Pickle, and here only: between a worker and a child that it started itself, over their own pipes.
"""

import importlib
import pickle
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass

from tercio.errors import OffloadError


@dataclass(frozen=True, slots=True)
class Call:
    """One call, its context variables by the place where each is found, and its environment."""

    function: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    context: tuple[tuple[str, str, object], ...]
    environ: Mapping[str, str]

    def pack(self) -> bytes:
        """As bytes. Raises `OffloadError` for what cannot be sent."""
        check_importable(self.function)
        try:
            return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # pickling runs the arguments' own code
            raise OffloadError(
                f"the arguments of {name_of(self.function)} cannot be sent to another process: "
                f"{error}"
            ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned or raised."""

    value: object = None
    error: BaseException | None = None
    traceback: str = ""


def name_of(function: Callable[..., object]) -> str:
    """``module.name`` for messages."""
    qualified = getattr(function, "__qualname__", repr(function))
    return f"{getattr(function, '__module__', '?')}.{qualified}"


def check_importable(function: Callable[..., object]) -> None:
    """Raise `OffloadError` unless another process finds the function by its name."""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):
        return  # a class method: pickled as its class and a name
    if owner is not None and not isinstance(owner, type(sys)):
        return  # a method of an object, which is pickled with it
    found: object = sys.modules.get(module) if module else None
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is not function:
        raise OffloadError(
            f"{name_of(function)} cannot be offloaded: another process must find it by its name. "
            "Define it at the top of a module, not inside a function, not as a lambda, and not "
            "under a decorator that hides it"
        )


def carried_context() -> tuple[tuple[str, str, object], ...]:
    """The context variables that another process can set, too.

    Those that are attributes of a module, with values that can be pickled; the others belong to
    this process.
    """
    context = copy_context()
    if not context:
        return ()
    carried = []
    for variable, value in context.items():
        if (place := _place_of(variable)) is not None and _is_picklable(value):
            carried.append((*place, value))
    return tuple(carried)


def set_context(carried: tuple[tuple[str, str, object], ...]) -> None:
    """Set the variables in this process, as far as their modules can be imported."""
    for module, name, value in carried:
        try:
            variable = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue  # made at run time in the other process
        if isinstance(variable, ContextVar):
            variable.set(value)


_places: dict[int, tuple[ContextVar[object], tuple[str, str] | None]] = {}
"""Where variables are found, by identity; the variable is kept, so its id stays its own."""


def _place_of(variable: ContextVar[object]) -> tuple[str, str] | None:
    known = _places.get(id(variable))
    if known is None:
        if len(_places) > 1000:
            _places.clear()
        known = _places[id(variable)] = (variable, _find(variable))
    return known[1]


def _find(variable: ContextVar[object]) -> tuple[str, str] | None:
    for module_name, module in tuple(sys.modules.items()):
        for name, value in tuple(getattr(module, "__dict__", {}).items()):
            if value is variable:
                return module_name, name
    return None


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # the value's own code
        return False
    return True
