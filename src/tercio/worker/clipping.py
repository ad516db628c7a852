"""Shorten text, so that what is reported to the primary fits into a message whatever it says.

Applications raise errors with a whole document in them, and clients ask for paths of 60 KiB.
"""

import json
from collections.abc import Mapping
from typing import Final

DUMP_LIMIT: Final = 48 * 1024
STACK_LIMIT: Final = 16 * 1024
ERROR_LIMIT: Final = 2 * 1024
PATH_LIMIT: Final = 200

_ITEMS: Final = 10


def clip(text: str, limit: int) -> str:
    """Cut the middle out of ``text`` until it takes ``limit`` bytes as JSON."""
    size = _size(text)
    if size <= limit:
        return text
    keep = len(text) * limit // size
    while True:
        half = keep // 2
        left = f"{len(text) - 2 * half} characters left out"
        clipped = f"{text[:half]}\n… {left} …\n{text[len(text) - half :]}"
        if _size(clipped) <= limit or not half:
            return clipped
        keep -= max(keep // 20, 1)


def clip_line(text: str, limit: int) -> str:
    """The same for text that is to stay one line: its end goes."""
    if _size(text) <= limit:
        return text
    keep = len(text) * limit // _size(text)
    while _size(text[:keep]) > limit - 3:  # the mark takes three bytes
        keep -= max(keep // 20, 1)
    return f"{text[:keep]}…"


def fitting(message: Mapping[str, object]) -> dict[str, object]:
    """A message that was too long, with less of everything in it."""
    return {key: _less(value) for key, value in message.items()}


def _less(value: object) -> object:
    match value:
        case str():
            return clip(value, 2 * ERROR_LIMIT)
        case list():
            return [clip_line(str(item), PATH_LIMIT) for item in value[:_ITEMS]]
        case _:
            return value


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))
