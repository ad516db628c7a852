"""Fixtures of the tests of what programs call."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.place import Place
from tests.cluster.conftest import cluster, new_cluster, pytest_runtest_makereport
from tests.cluster.harness import DEFAULT_APP

__all__ = ["cluster", "new_cluster", "place", "pytest_runtest_makereport"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "app.py").write_text(DEFAULT_APP)
    found = Place(tmp_path, uuid.uuid4().hex)
    yield found
    left = found.living()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    assert not found.leftovers()
