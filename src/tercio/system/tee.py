"""Keep a copy of what Python code prints: `sys.stdout` and `sys.stderr` write to a `Tail`, too.

They stay what they are, text over a buffer over a file; only the file's `write` does one thing
more. What C code or another program writes to the same descriptor is not seen.
"""

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Keep = Callable[[bytes], None]


class _Copying(io.FileIO):
    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, "wb", closefd=False)
        self.name = name

    def write(self, data: "ReadableBuffer", /) -> int:
        written = super().write(data)
        if written and _keepers:
            _keepers[-1](bytes(memoryview(data).cast("B")[:written]))
        return written


_keepers: list[Keep] = []


def copy_output(keep: Keep) -> None:
    """Call ``keep``, and nothing else any more, with all that Python code writes from now on.

    Called first in a process that will fork, and then in each child with its own ``keep``, it also
    sees what goes through handlers that were made before the fork.
    """
    is_first = not _keepers
    _keepers[:] = [keep]
    for name in ("stdout", "stderr") if is_first else ():
        stream = getattr(sys, name)
        # None where it was closed at the start; anything else than Python's own is somebody's.
        if type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):
            again = _again(stream)
            setattr(sys, name, again)
            setattr(sys, f"__{name}__", again)


def _again(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = _Copying(stream.fileno(), stream.name)
    # `python -u` leaves the buffer out.
    is_buffered = isinstance(stream.buffer, io.BufferedWriter)
    again = io.TextIOWrapper(
        io.BufferedWriter(raw) if is_buffered else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    again.mode = "w"  # type: ignore[misc]
    return again
