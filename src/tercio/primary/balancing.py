"""Say how an address is shared by the workers, as asked or as it can be had here."""

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tercio.config import OPTIONS, Config
from tercio.primary.sizing import Size
from tercio.system import bpf
from tercio.system.sockets import Listener, Slots

PULL: Final = "pull"

_SHARE: Final = 0.25
"""Of the open-file limit: every worker inherits all listeners, and has connections besides."""


@dataclass(frozen=True, slots=True)
class Balancing:
    """``slots`` is None where all addresses have one listener; ``why`` says so if it is not asked.

    Read it again with `describe` once the listeners are open: one of them may have been refused.
    """

    policy: str
    slots: Slots | None
    why: str = ""

    def describe(self, listeners: Sequence[Listener]) -> dict[str, object]:
        """What `status` says: the policy in effect, of all and of each address."""
        has_slots = any(listener.slots for listener in listeners)
        reasons = [self._reason(listener) for listener in listeners]
        return {
            "asked": self.policy,
            "policy": self.policy if has_slots else PULL,
            "why": "" if has_slots else next(filter(None, reasons), ""),
            "listeners": [
                {
                    "url": listener.url,
                    "policy": self.policy if listener.slots else PULL,
                    "why": reason,
                }
                for listener, reason in zip(listeners, reasons, strict=True)
            ],
        }

    def warnings(self, listeners: Sequence[Listener]) -> list[str]:
        """A line for each address that is not shared as asked.

        Not for those that never can be, as long as nobody has asked for another policy.
        """
        is_default = self.policy == OPTIONS["balance"].default
        can_be_had = sys.platform == "linux"
        return [
            f"--balance {self.policy} cannot be had at {listener.url}: {reason}; connections are "
            "shared as with --balance pull"
            for listener in listeners
            if (reason := self._reason(listener))
            and not (
                is_default and (not can_be_had or not listener.bind.is_tcp or listener.is_adopted)
            )
        ]

    def _reason(self, listener: Listener) -> str:
        if listener.slots or self.policy == PULL:
            return ""
        return listener.why_shared or self.why


def balancing_of(config: Config, size: Size, addresses: int) -> Balancing:
    """How ``addresses`` of TCP are to be shared."""
    policy = config.balance
    if policy == PULL:
        return Balancing(policy, None)
    if size.most < 2:
        return Balancing(policy, None)  # there is nothing to balance
    wanted = size.most * addresses
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and wanted > soft * _SHARE:
        return Balancing(
            policy,
            None,
            f"it takes {wanted} listeners, more than a quarter of the {soft} files that a process "
            "may open (see ulimit -n, --max-workers)",
        )
    if policy == "sticky-ip":
        program = bpf.by_address(range(size.workers))
    else:
        program = bpf.weighted([1] * size.workers + [0] * (size.most - size.workers))
    return Balancing(policy, Slots(size.most, program))
