"""What ``--env-file`` sets belongs to a generation: it is read at the start and at each reload."""

import os
import signal

import pytest

from tests.cluster.harness import DEFAULT_APP, QUICK, Cluster

pytestmark = pytest.mark.timeout(120)

APP = DEFAULT_APP.replace(
    'RELEASE = "one"', 'RELEASE = os.environ["TEST_COLOUR"] + os.environ.get("TEST_SHADE", "")'
)


def crash(cluster: Cluster) -> str:
    """Kill the worker; what its successor in the same generation was given."""
    since = cluster.newest()
    os.kill(cluster.pids()[0], signal.SIGKILL)
    cluster.wait("WorkerServing", since=since)
    return cluster.get().text.split()[0]


def test_a_generation_keeps_the_variables_it_began_with(cluster: Cluster) -> None:
    file = cluster.directory / "env"
    file.write_text("TEST_COLOUR=green\n")
    cluster.write_app(APP)
    cluster.start("-w", "1", "--env-file", "env", "--stable-after", "0", *QUICK)
    assert cluster.get().text.startswith("green ")

    file.write_text("TEST_COLOUR=blue\nTEST_SHADE=-dark\n")
    assert crash(cluster) == "green"

    cluster.ask("reload")
    assert cluster.get().text.startswith("blue-dark ")

    file.unlink()
    assert crash(cluster) == "blue-dark"
