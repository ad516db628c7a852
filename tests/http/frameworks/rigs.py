"""Workers that run an application of a framework."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.worker.rig import Rig

LARGE: Final = bytes(range(256)) * 12_000
"""The content of `large.bin`, 3 MB."""


@contextlib.contextmanager
def rig_of(app: str, loop: str, directory: Path) -> Iterator[Rig]:
    """A worker that serves ``app`` of this package, with static files in a directory."""
    (directory / "large.bin").write_bytes(LARGE)
    (directory / "small.txt").write_bytes(b"small")
    os.environ["RIG_STATIC"] = str(directory)
    try:
        rig = Rig(
            options={"server": "tercio", "loop": loop, "log_level": "critical"},
            record={"app": f"tests.http.frameworks.{app}:app"},
        )
    finally:
        del os.environ["RIG_STATIC"]
    with rig:
        yield rig.serving()
