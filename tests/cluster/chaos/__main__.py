"""`scripts/chaos`: play the faults that every run plays a few times, many times.

    scripts/chaos                       every case, 10 to 100 times as often
    scripts/chaos C02 C35 --tier extreme --seed 7

Cases that need a tracer or control groups are played here only.
"""

import argparse
import os
import random
import re
import sys
from pathlib import Path
from typing import Final

import pytest

_HERE: Final = Path(__file__).parent
_LIMITS: Final = {"quick": 600, "full": 3 * 3600, "extreme": 24 * 3600}
"""Seconds that one test may take, by tier."""


def main() -> int:
    """Play what the command line asks for; return pytest's exit code."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="such as C02; default: all")
    parser.add_argument("--tier", choices=tuple(_LIMITS), default="full")
    parser.add_argument("--seed", default=str(random.SystemRandom().getrandbits(32)))
    asked, others = parser.parse_known_args()
    # Before the tests are imported: they read both there.
    os.environ["TERCIO_CHAOS_TIER"] = asked.tier
    os.environ["TERCIO_CHAOS_SEED"] = asked.seed
    # Files, not their directory: of a directory pytest takes only those that are named test_*.
    ours = (
        _HERE / name
        for name in (
            *("calls.py", "clocks.py", "crowds.py"),
            *("injected.py", "scarce.py", "starved.py"),
        )
    )
    tests = [
        *sorted(_HERE.parent.glob("test_*.py")),
        *sorted((_HERE.parents[1] / "state").glob("test_*.py")),
        *sorted((_HERE.parents[1] / "engines").glob("*/test_*.py")),
        *sorted((_HERE.parents[1] / "killpoints").glob("test_*.py")),
        *ours,
    ]
    limit = str(_LIMITS[asked.tier])
    arguments = [*map(str, tests), "--timeout", limit, "-v", *others]
    return int(pytest.main(arguments, plugins=[Selection({case.upper() for case in asked.cases})]))


_REPEATS: Final = {"quick": 1, "full": 50, "extreme": 250}
"""How often a whole test is played that is marked ``repeat=True``, by tier."""


class Selection:
    """Keeps the tests of the chosen cases, and says how often each was played."""

    def __init__(self, cases: set[str]) -> None:
        self._cases = cases

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Play a test as a whole again and again, where it has no trials inside."""
        if any(mark.kwargs.get("repeat") for mark in metafunc.definition.iter_markers("chaos")):
            metafunc.fixturenames.append("trial")
            metafunc.parametrize("trial", range(_REPEATS[os.environ["TERCIO_CHAOS_TIER"]]))

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        known = {case for item in items for case in _cases_of(item)}
        if unknown := self._cases - known:
            raise pytest.UsageError(
                f"no test plays {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
            )
        chosen = [item for item in items if _cases_of(item) & (self._cases or known)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        from tests.cluster.chaos import tiers  # here: it reads the environment

        terminalreporter.section("chaos")
        terminalreporter.line(
            f"tier {tiers.TIER}, seed {tiers.SEED}, Python {sys.version.split()[0]}"
        )
        for case, count in sorted(tiers.PLAYED.items()):
            terminalreporter.line(f"{case}: {count} trials")


def _cases_of(item: pytest.Item) -> set[str]:
    return {
        case
        for mark in item.iter_markers("chaos")
        for argument in mark.args
        for case in re.findall(r"C\d\d", argument)
    }


if __name__ == "__main__":
    sys.exit(main())
