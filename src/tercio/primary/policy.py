"""Make the supervisor's policy from the options and from what the machine has."""

import dataclasses
from typing import Final

from tercio.config import Config
from tercio.core.policy import Policy
from tercio.system.cgroup import Cgroup

_MEMORY_SHARE: Final = 0.9  # of a limited cgroup; the rest is the primary's and the kernel's


def policy_of(config: Config, cgroup: Cgroup, workers: int, max_workers: int) -> Policy:
    """The policy for ``workers`` workers. Fields of the same name are the same thing."""
    names = (field.name for field in dataclasses.fields(Policy))
    values = {name: getattr(config, name) for name in names if hasattr(config, name)}
    values |= {
        "exit_on_crash_loop": config.on_crash_loop == "exit",
        "limit_memory": own_limit(config),
        "memory_share": shared_memory(config, cgroup),
        "limit_requests": config.limit_max_requests,
        "limit_lifetime": config.limit_max_lifetime,
        "max_workers": max_workers,
    }
    policy = Policy(**values)
    return policy.for_target(workers)


def own_limit(config: Config) -> int:
    """Bytes of private memory after which a worker is replaced; 0 = none was given."""
    return config.limit_max_memory if isinstance(config.limit_max_memory, int) else 0


def shared_memory(config: Config, cgroup: Cgroup) -> int:
    """Bytes that ``auto`` shares among the workers; 0 where nothing limits them."""
    if isinstance(config.limit_max_memory, int) or cgroup.memory_limit is None:
        return 0
    return int(cgroup.memory_limit * _MEMORY_SHARE)
