"""The options of what workers share: state, messages, metrics, child processes.

They are part of `config.Config`.
"""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group
from tercio.units import KIB, MIB

SHARING = Group("Sharing", "What workers share: state, messages, metrics, and child processes.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class SharingOptions:
    """What workers share."""

    state_dir: str = SHARING.option(
        "",
        kinds.text("DIR", "a directory on a local disk"),
        "Keep the shared state here, over a restart of the cluster; else it is in memory.",
        instead=_FIXED,
    )
    state_size: int = SHARING.option(
        0,
        kinds.size(low=MIB, zero="the smaller of 256 MiB and half of what is free"),
        "The most that the shared state may hold; the embedded engine only.",
        instead=_FIXED,
    )
    state_sync: str = SHARING.option(
        "interval",
        kinds.choice("none", "interval", "always"),
        "When --state-dir is written to disk: a power loss undoes what was not.",
        instead=_FIXED,
    )
    redis: str = SHARING.option(
        "",
        subjects.redis_url(),
        "Share over Redis or Valkey, with other machines: redis://, rediss://, unix:// or "
        "redis+sentinel://.",
        secret=True,
        instead=_FIXED,
    )
    redis_file: str = SHARING.option(
        "",
        kinds.text("FILE", "a file"),
        "Read --redis from this file, which keeps its password out of sight.",
        instead=_FIXED,
    )
    redis_prefix: str = SHARING.option(
        "tercio:",
        kinds.text("PREFIX", "text"),
        "What all keys and channels in Redis begin with.",
        instead=_FIXED,
    )
    redis_required: bool = SHARING.option(
        False,
        kinds.switch(),
        "A worker that cannot reach Redis is not ready.",
    )
    ring_size: int = SHARING.option(
        4 * MIB,
        kinds.size(low=64 * KIB),
        "Memory for each worker's messages that others have not read yet.",
        instead=_FIXED,
    )
    attached: int = SHARING.option(
        16,
        kinds.whole(0, 512),
        "The most other processes (tercio exec, offloaded calls) that may attach at a time.",
        instead=_FIXED,
    )
    offload_workers: int = SHARING.option(
        0,
        kinds.whole(0, 1024, zero="one per CPU"),
        "Processes for `cluster.offload`, in the whole cluster.",
    )
    secrets_dir: str = SHARING.option(
        "",
        kinds.text("DIR", "a directory"),
        "Where `cluster.secret(NAME)` finds a file of that name.",
    )
    stats_interval: float = SHARING.option(
        0.0,
        kinds.duration(zero="never"),
        "Log a line of statistics this often.",
    )
