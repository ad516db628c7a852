"""Clusters that a test launches from Python, and what is left of them."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tercio
from tercio.running import Launch, Running
from tests.cluster.harness import MARK, PATIENCE, QUICK, Cluster

QUICKLY: dict[str, object] = {
    name.strip("-").replace("-", "_"): value
    for name, value in zip(QUICK[::2], QUICK[1::2], strict=True)
}


@dataclass(frozen=True)
class Place:
    """Where a test's clusters are, and what is left of them."""

    directory: Path
    mark: str

    def launch(self, app: str = "app:app", **options: Any) -> Launch:
        given: dict[str, Any] = {
            "workers": 2,
            "port": 0,
            "cwd": self.directory,
            "runtime_dir": self.directory / "run",
            "output": self.directory / "output",
            **QUICKLY,
            **options,
        }
        given["env"] = {MARK: self.mark, "PYTHONDONTWRITEBYTECODE": "1", **given.get("env", {})}
        return tercio.launch(app, **given)

    def living(self) -> list[int]:
        return [pid for pid in Cluster(self.directory, self.mark).living() if pid != os.getpid()]

    def wait_until_alone(self) -> None:
        """Until no process of its clusters lives."""
        deadline = time.monotonic() + PATIENCE
        while left := self.living():
            assert time.monotonic() < deadline, f"still there: {left}"
            threading.Event().wait(0.02)

    def leftovers(self) -> list[str]:
        """Directories and files of clusters that have ended."""
        return sorted(str(path) for path in (self.directory / "run").glob("*"))


def port_of(running: Running) -> int:
    return int(running.addresses[0].rpartition(":")[2])


def states(running: Running) -> list[tuple[int, int, str]]:
    return [
        (worker.slot, worker.generation, worker.state)
        for worker in running.workers
        if worker.state == "serving"
    ]
