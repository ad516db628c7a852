"""Make the supervisor's policy from the options and from what the machine has."""

import dataclasses
from typing import Final

from tercio.config import Config
from tercio.core.policy import Policy
from tercio.system.cgroup import Cgroup

_MEMORY_SHARE: Final = 0.9  # of a limited cgroup; the rest is the primary's and the kernel's


def policy_of(config: Config, cgroup: Cgroup, workers: int, max_workers: int) -> Policy:
    """The policy for ``workers`` workers. Fields of the same name are the same thing."""
    same = {field.name for field in dataclasses.fields(Policy)}
    values = {name: value for name, value in config_values(config).items() if name in same}
    values |= {
        "exit_on_crash_loop": config.on_crash_loop == "exit",
        "limit_memory": memory_limit(config, cgroup, workers),
        "limit_requests": config.limit_max_requests,
        "limit_lifetime": config.limit_max_lifetime,
        "max_workers": max_workers,
    }
    return Policy(**values)  # type: ignore[arg-type]


def config_values(config: Config) -> dict[str, object]:
    """The options as a dictionary."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def memory_limit(config: Config, cgroup: Cgroup, workers: int) -> int:
    """Bytes of private memory after which a worker is replaced; 0 = no limit.

    ``auto`` shares a limited cgroup among the workers and one successor.
    """
    if isinstance(config.limit_max_memory, int):
        return config.limit_max_memory
    if cgroup.memory_limit is None:
        return 0
    return int(cgroup.memory_limit * _MEMORY_SHARE / (workers + 1))
