"""A dict that is read when it is first looked at."""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, Self

from tercio.sessions.record import checked


class LazyDict(dict[str, Any]):
    """Calls `_look` before anything is done with it. Its keys are strings: others could be stored
    and never be read. C code that reads a dict past its methods, such as `json.dumps`, sees an
    empty one until then.
    """

    def _look(self) -> None:
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        self._look()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._look()
        super().__setitem__(checked(key), value)

    def __delitem__(self, key: str) -> None:
        self._look()
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        self._look()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._look()
        return super().__iter__()

    def __len__(self) -> int:
        self._look()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._look()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self._look()
        return super().__ne__(other)

    __hash__ = None  # as of any dict

    def __reversed__(self) -> Iterator[str]:
        self._look()
        return super().__reversed__()

    def __or__(self, other: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return self.copy() | other

    def __ror__(self, other: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return other | self.copy()

    def __copy__(self) -> dict[str, Any]:
        return self.copy()

    def get(self, key: str, default: Any = None) -> Any:
        self._look()
        return super().get(key, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        self._look()
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        self._look()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        self._look()
        return super().items()

    def pop(self, key: str, *default: Any) -> Any:
        self._look()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self._look()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._look()
        return super().setdefault(checked(key), default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._look()
        for key, value in dict(*args, **kwargs).items():
            super().__setitem__(checked(key), value)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        self._look()
        return dict(super().items())
