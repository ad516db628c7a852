"""Keep what was checked once, for clients and applications that say the same again and again. Pure.

Looking up is the caller's: a plain dict costs less than any call.
"""

from typing import Final, TypeVar

_MOST: Final = 1024
_LONGEST: Final = 256  # bytes

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")


def keep(kept: dict[_Key, _Made], key: _Key, size: int, made: _Made) -> None:
    """Keep ``made`` for ``key``, whose text has ``size`` bytes, within what it may take in all."""
    if size <= _LONGEST:
        if len(kept) >= _MOST:
            kept.clear()  # what never comes again must not keep out what does
        kept[key] = made
