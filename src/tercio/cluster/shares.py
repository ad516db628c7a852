"""How much of a budget one process may use so that all of the cluster never exceed it.

A slot has two live processes at most: a worker, and its successor or predecessor. That holds in
reloads of both kinds, in recycling, after crashes and while one drains; `--surge` says how many
successors boot at once, not how many there are in the end. So of ``total`` a worker gets

    total // (2 x slots)

where the slots are those of ``--max-workers``, or of ``--workers`` without it. A share cannot be
taken back from a pool that is open, so a worker in a slot beyond these gets none.
"""

from typing import Final

from tercio.cluster.membership import Membership
from tercio.config import Config
from tercio.core.model import SEATS_PER_SLOT
from tercio.errors import ConfigError

_asked: Final[list[str]] = []
"""In a template: what its import shares, which its forks have as it is."""


def share_of(total: int, attached: int, member: Membership) -> int:
    """See `cluster.share`. Raises `ConfigError`."""
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        raise ConfigError(f"cluster.share({total!r}): expected a whole number above 0")
    if attached < 0:
        raise ConfigError(f"cluster.share: attached={attached}: expected 0 or more")
    if member.mode == "local":
        return total
    if member.mode == "attached" and not attached:
        raise ConfigError(
            f"cluster.share({total}): this process is attached to the cluster and nobody counts "
            "it: say cluster.share(total, attached=N) everywhere, N being how many such processes "
            "(offloaded calls, `tercio exec`) may use it at once"
        )
    slots = _slots(member.config)
    what = f"cluster.share({total})"
    if member.is_template:
        _asked.append(what)
    elif member.mode == "worker":
        _check(what, member)
    processes = SEATS_PER_SLOT * slots + attached
    if total < processes:
        beside = f" and {attached} attached ones" if attached else ""
        raise ConfigError(
            f"{what}: {slots} workers, each with a successor beside it in a reload,{beside} are "
            f"{processes} processes, and there is not one for each: allow {processes} or more, or "
            "lower --max-workers or --workers"
        )
    return total // processes


def check_template(member: Membership) -> None:
    """In a fork of a template: whether what the import has shared is meant for it, too.

    Raises `ConfigError`.
    """
    for what in _asked:
        _check(what, member)


def _check(what: str, member: Membership) -> None:
    slots = _slots(member.config)
    if member.worker.slot >= slots:
        raise ConfigError(
            f"{what}: this worker is number {member.worker.slot + 1}, and the others share among "
            f"{slots}: restart the cluster with --max-workers, the most that you scale to"
        )


def _slots(config: Config) -> int:
    # The primary has put a number in place of "auto".
    workers = config.workers if isinstance(config.workers, int) else 1
    return max(config.max_workers, workers)
