"""Decide whether workers can give each other connections: it takes descriptors."""

import resource
from typing import Final

from tercio.config import Config

_SHARE: Final = 1 / 8
"""Of the files that a process may open. The primary has two for each seat, a worker one."""


def seats_with_inboxes(config: Config, seats: int) -> int:
    """``seats``, or 0 if that would be too many descriptors of too few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = [each for each in (soft, config.resource_limits.get("nofile")) if each is not None]
    few = min((each for each in limits if each != resource.RLIM_INFINITY), default=None)
    return seats if few is None or 2 * seats <= few * _SHARE else 0


def warning(config: Config, seats: int) -> list[str]:
    """What the start says when connections cannot move."""
    if seats_with_inboxes(config, seats):
        return []
    text = (
        f"connections do not move between workers: that takes {2 * seats} descriptors, more than "
        "an eighth of the files that a process may open (see ulimit -n, --worker-limit, "
        "--max-workers)"
    )
    return [text]
