"""What a hook is called with: ``--on-worker-start shop.hooks:begin`` calls ``begin(worker)``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HookedWorker:
    """The worker that calls."""

    cluster: str
    """The cluster's name."""
    slot: int
    """Its place in the cluster, from 0."""
    incarnation: int
    """How many processes the slot has had, this one included."""
    generation: int
    """Which release it runs: 1 at first, one more with each reload."""
    pid: int
    reason: str = ""
    """Why it leaves, in drain and exit hooks: ``stop``, ``reload`` and so on."""
