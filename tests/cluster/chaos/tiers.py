"""How often a fault is played, and with which luck.

A test asks for its number of trials and for its random numbers here. `scripts/chaos` sets the tier
and the seed through the environment; a failed test prints both.
"""

import os
import random
from collections import Counter
from typing import Final

TIERS: Final = ("quick", "full", "extreme")
TIER: Final = os.environ.get("TERCIO_CHAOS_TIER", "quick")
SEED: Final = os.environ.get("TERCIO_CHAOS_SEED") or str(random.SystemRandom().getrandbits(32))

SLACK: Final = 3.0
"""Bounds of time are this much wider than promised: the machine is busy. Counts are never."""

PLAYED: Final[Counter[str]] = Counter()
"""Trials by case, for the summary of `scripts/chaos`."""


def trials(case: str, quick: int, full: int, extreme: int) -> range:
    """How often to play ``case`` in this tier."""
    count = (quick, full, extreme)[TIERS.index(TIER)]
    PLAYED[case] += count
    return range(count)


def luck(case: str) -> random.Random:
    """Random numbers that the seed alone decides, whatever ran before."""
    print(f"{case}: tier {TIER}, seed {SEED}")
    return random.Random(f"{SEED} {case}")
