"""All stories, by the name that the driver is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.killpoints import storing, writing
from tests.killpoints.counting import Counting, Folding
from tests.killpoints.driver import Story

STORIES: Final[dict[str, Callable[[Path], Story]]] = {
    "ring": writing.in_order,
    "careful ring": writing.careful,
    "lmdb": storing.lmdb,
    "sqlite": storing.sqlite,
    "synced lmdb": storing.synced_lmdb,
    "synced sqlite": storing.synced_sqlite,
    "counting": Counting,
    "folding": Folding,
}
