"""Say why a thread could not be started: Python says only that it could not."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tercio.errors import CouldNotStart

_LIMITS: Final = {
    "processes and threads of this user (ulimit -u)": "RLIMIT_NPROC",
    "bytes of a thread's stack (ulimit -s)": "RLIMIT_STACK",
    "bytes of memory (--worker-limit memory)": "RLIMIT_DATA",
}


@contextmanager
def explained() -> Iterator[None]:
    """Raises `CouldNotStart` with the limits that it may be, for ``can't start new thread``."""
    try:
        yield
    except RuntimeError as error:
        limits = [f"{text}: {soft}" for text, name in _LIMITS.items() if (soft := _limit(name))]
        raise CouldNotStart(
            f"the worker cannot start its threads ({error}); the limits are "
            f"{', '.join([*limits, 'and pids.max of its cgroup'])}"
        ) from error


def _limit(name: str) -> int | None:
    """The soft limit; None if there is none, or no such limit on this system."""
    kind = getattr(resource, name, None)
    if kind is None:
        return None
    soft = resource.getrlimit(kind)[0]
    return None if soft == resource.RLIM_INFINITY else soft
