"""A piece of memory that a primary and its workers share through a descriptor.

It has no name in any file system, so nothing can be left behind, guessed or opened by a stranger
(hazard 18: named segments are unlinked by Python's resource tracker under live processes, and
a full /dev/shm turns a store into SIGBUS). Pages are allocated up front for the same reason, and
the size is sealed, so no process can pull memory from under another.
"""

import fcntl
import mmap
import os
import tempfile
from types import TracebackType
from typing import Self

from tercio.errors import CouldNotStart


class Segment:
    """Shared memory of a fixed size; ``words`` is it as unsigned 8-byte integers."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self._memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED)
        # cast("Q"): one aligned 8-byte move per store. struct.pack_into("<Q") writes byte by byte,
        # and a reader in another process could see half of a number.
        self.words: memoryview[int] = memoryview(self._memory).cast("Q")

    @classmethod
    def create(cls, label: str, size: int, *, sparse: bool = False) -> Self:
        """Make a new segment of ``size`` bytes, zeroed, allocated and sealed.

        A sparse one takes memory where it is written, only: for what stays mostly empty. Raises
        `CouldNotStart` when the memory cannot be had.
        """
        try:
            descriptor = sealed_file(label, size, sparse=sparse)
        except OSError as error:
            raise CouldNotStart(
                f"cannot allocate {size} bytes of shared memory for {label}: {error.strerror}"
            ) from error
        return cls(descriptor, size)

    @classmethod
    def attach(cls, descriptor: int) -> Self:
        """Map a segment whose descriptor was inherited."""
        return cls(descriptor, os.fstat(descriptor).st_size)

    def close(self) -> None:
        """Give up the mapping and the descriptor."""
        self.words.release()
        self._memory.close()
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def anonymous_file(label: str) -> int:
    """Return a descriptor of an empty file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile(prefix=label) as file:  # macOS: unlinked at once
        return os.dup(file.fileno())


def sealed_file(label: str, size: int, *, sparse: bool) -> int:
    """Return a descriptor of such a file, unmapped. Raises `OSError`."""
    descriptor = anonymous_file(label)
    try:
        os.ftruncate(descriptor, size)
        if hasattr(os, "posix_fallocate") and not sparse:
            os.posix_fallocate(descriptor, 0, size)
        if hasattr(os, "memfd_create"):
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
