"""Stand for something that only a worker has, in the template that workers are forked from.

What an application keeps at the top of its modules, such as ``state = cluster.state``, is made once
by the template and used in every worker.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from tercio.errors import NotInCluster


class Later:
    """Passes everything on to what ``make`` returns, which is called once, in a worker.

    Raises `NotInCluster` as long as ``is_early`` says so.
    """

    def __init__(self, name: str, is_early: Callable[[], bool], make: Callable[[], object]) -> None:
        self._name = name
        self._is_early = is_early
        self._make = make
        self.made: object | None = None
        """What it stands for, once that was used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._is_early():
            return partial(self._call, name)  # whoever keeps a method may call it later
        found = getattr(self._thing(), name)
        if callable(found):
            self.__dict__[name] = found  # the next look costs nothing
        return found

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._thing(), name)(*args, **kwargs)

    def _thing(self) -> object:
        if self.made is None:
            if self._is_early():
                raise NotInCluster(
                    f"cluster.{self._name} cannot be used while --preload imports the application: "
                    "it is one import for all workers; use it in the lifespan, or later"
                )
            self.made = self._make()
        return self.made
