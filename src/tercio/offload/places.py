"""Places for calls in other processes: so many in the whole cluster, whoever uses them.

A place is a locked file. The kernel lets it go with the process that has it, so no crash loses one.
"""

import fcntl
import os
import random
from typing import Final

from tercio.errors import OffloadError

_NAME: Final = "offload-{}.lock"


class Places:
    """``size`` places in a private directory that all processes of the cluster share."""

    def __init__(self, directory: str, size: int) -> None:
        self._directory = directory
        self.size = size

    def take(self) -> int | None:
        """Take a place, as a descriptor for `give_back`; None if all are taken.

        Raises `OffloadError` when the directory cannot be used.
        """
        first = random.randrange(self.size)  # else all would try the first ones, which are taken
        for number in range(self.size):
            if (place := self._lock((first + number) % self.size)) is not None:
                return place
        return None

    def give_back(self, place: int) -> None:
        """Let a place go."""
        # Closing is not enough: a fork made meanwhile shares the open file, and the lock with it.
        fcntl.flock(place, fcntl.LOCK_UN)
        os.close(place)

    def _lock(self, number: int) -> int | None:
        path = os.path.join(self._directory, _NAME.format(number))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise OffloadError(f"no call can be offloaded: {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
