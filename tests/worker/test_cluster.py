"""What an application sees of the cluster outside of one."""

import pytest

from tercio import cluster


def test_a_plain_process_is_local() -> None:
    assert cluster.mode == "local"
    assert cluster.worker.id == "0.0"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'bus'"):
        cluster.bus  # type: ignore[attr-defined]  # noqa: B018
