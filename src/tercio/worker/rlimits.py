"""Set the kernel's limits of this worker (``--worker-limit``)."""

import resource
import sys
from collections.abc import Mapping

from tercio.errors import ConfigError
from tercio.system.limits import raise_nofile

# On Linux the size of private writable memory. RLIMIT_AS would count what is merely reserved, and
# each thread of a numeric library reserves 64 MiB and more.
_MEMORY = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS


def apply(limits: Mapping[str, int]) -> None:
    """Set ``memory`` (bytes), ``nofile`` and ``cpu`` (seconds); raise descriptors otherwise."""
    if "nofile" not in limits:
        raise_nofile()
    for name, value in limits.items():
        match name:
            case "memory":
                _set(_MEMORY, value, value, name)
            case "nofile":
                _set(resource.RLIMIT_NOFILE, value, value, name)
            case "cpu":
                # A second between the two: SIGXCPU names the cause, SIGKILL would not.
                _set(resource.RLIMIT_CPU, value, value + 1, name)
            case _:
                raise ConfigError(f"--worker-limit {name}={value}: no such limit")


def _set(kind: int, soft: int, hard: int, name: str) -> None:
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
        soft = min(soft, hard)
    try:
        resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--worker-limit {name}={soft} cannot be set: {error}") from error
