"""See to it that forks share as many pages as possible with the process that they are forked from.

A page is copied when something in it changes. The collector would change all of them, so nothing of
what exists is looked at again. What is left is what forks use of the old objects, since Python
counts references inside of them.

(Filling the gaps between old objects, so that a fork's new ones lie together, won 2 % and was left
out.)
"""

import gc
import re
from collections.abc import Iterator
from contextlib import suppress

from tercio.system import libc


def settle() -> None:
    """Called before the first fork, once all is imported."""
    gc.collect()
    libc.trim()
    gc.freeze()
    let_go_of_files()


def let_go_of_files() -> None:
    """Unmap what was read of programs and libraries; it is mapped again when it is needed.

    A template runs next to none of it, and forks map for themselves what they run.
    """
    with suppress(OSError), open("/proc/self/smaps") as file:
        for begin, end in clean_files(file.read()):
            libc.let_go(begin, end - begin)


def clean_files(smaps: str) -> Iterator[tuple[int, int]]:
    """Where files are mapped that cannot be written to, and of which no page was ever changed.

    The linker changes pages of a library before it makes them read-only: those have to stay.
    """
    for entry in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", smaps):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-[-x]p \S+ \S+ [1-9]\d* +/", entry)
        if head and re.search(r"(?m)^Anonymous: +0 kB", entry):
            yield int(head[1], 16), int(head[2], 16)
