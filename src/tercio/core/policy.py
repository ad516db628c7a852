"""Every figure that the supervisor goes by, in seconds and bytes."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The supervisor's share of the options; `config` documents each and holds the defaults."""

    start_timeout: float = 60.0
    ready_timeout: float = 30.0
    soak: float = 2.0
    trial: float = 2.0
    surge: int = 1
    reload_timeout: float = 0.0  # 0: computed from the number of slots
    drain_timeout: float = 30.0
    stop_delay: float = 0.0
    stop_timeout: float = 20.0
    kill_grace: float = 1.0
    stable_after: float = 10.0
    backoff_base: float = 0.25
    backoff_cap: float = 30.0
    backoff_jitter: float = 0.5
    breaker_deaths: int = 0  # 0: max(5, 2 x workers)
    breaker_window: float = 60.0
    probe_interval: float = 30.0
    exit_on_crash_loop: bool = False
    limit_memory: int = 0  # bytes; 0 = no limit, as for the three below
    memory_share: int = 0  # bytes for all workers together; their number makes it `limit_memory`
    leak_window: float = 0.0
    limit_requests: int = 0
    limit_lifetime: float = 0.0
    limit_jitter: float = 0.1
    sample_interval: float = 1.0
    blocked_kill: float = 30.0  # 0: never
    stopped_kill: float = 10.0  # 0: never
    max_workers: int = 16
    preload: bool = False
    release_dir: str = ""
    """A link to a directory for each release; what was resolved once stays what it is."""
    is_development: bool = False
    """A person waits: nothing is tried again until a file changes, nor ended at a breakpoint."""

    def for_target(self, target: int) -> "Policy":
        """The policy for another number of workers: a shared amount is shared anew.

        One share more than there are workers: a successor starts beside one of them.
        """
        if not self.memory_share:
            return self
        return dataclasses.replace(self, limit_memory=self.memory_share // (target + 1))

    @property
    def uses_template(self) -> bool:
        """Whether workers are forked from a process that has the application loaded."""
        return self.preload and not self.is_development  # a person waits for each change

    @property
    def least_limit_memory(self) -> int:
        """The lowest limit that the jitter can give a worker."""
        return int(self.limit_memory * (1.0 - self.limit_jitter))

    def deaths_allowed(self, target: int) -> int:
        """Early deaths within `breaker_window` after which the breaker opens."""
        return self.breaker_deaths or max(5, 2 * target)

    def reload_limit(self, target: int, *, is_exact: bool = True) -> float:
        """How long a whole reload may take: the sum of the bounds of each wait in it."""
        if self.reload_timeout:
            return self.reload_timeout
        boot = self.start_timeout + self.ready_timeout + self.kill_grace
        load = self.start_timeout + self.kill_grace if self.uses_template else 0.0
        if not is_exact:
            turn = boot + self.soak + self.drain_timeout
            return load + (max(target, 1) + 1) * turn + self.trial
        turns = -(-max(target, 1) // self.surge)
        return load + turns * boot + self.drain_timeout + self.soak + self.trial
