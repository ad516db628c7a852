"""`scripts/fuzz-http`: spoil streams of valid requests for a while, and see that nothing breaks.

    scripts/fuzz-http --seconds 600
    scripts/fuzz-http --seed 7 --only 1234

A failure is printed with its seed and number: the same two play it again.
"""

import argparse
import itertools
import random
import sys
import time

from tests.http.moody import Moody, tease
from tests.http.place import Place, place
from tests.http.streams import spoiled
from tests.http.trials import spoil


def main() -> int:
    """Play until time is up or something breaks; 1 if it did."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz-http", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", default=str(random.SystemRandom().getrandbits(32)))
    parser.add_argument("--only", type=int, help="play this trial and no other")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.loop}", flush=True)
    deadline = time.monotonic() + asked.seconds
    moody = Moody()
    numbers = itertools.count() if asked.only is None else iter([asked.only])
    played = 0
    with place(asked.loop) as steady, place(asked.loop, moody) as other:
        for number in numbers:
            if asked.only is None and time.monotonic() > deadline:
                break
            if not _play(steady, other, moody, f"{asked.seed} {number}"):
                print(f"again: scripts/fuzz-http --seed {asked.seed} --only {number}")
                return 1
            played += 1
    print(f"{played} trials, nothing broke")
    return 0


def _play(steady: Place, other: Place, moody: Moody, seed: str) -> bool:
    """Whether all held that must hold."""
    try:
        spoil(steady, seed)
        tease(other, moody, seed)
    except Exception as error:  # a time-out is a failure like others
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        print(f"the stream: {spoiled(random.Random(seed))!r}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
