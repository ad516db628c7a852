"""Many reloads in a row under clients of all five kinds: not one request may fail.

.venv/bin/python -m benchmarks.reload.endurance --reloads 20
"""

import argparse
import sys
import tempfile
import uuid
from pathlib import Path

from tests.cluster.harness import Cluster
from tests.cluster.history import most_in_a_slot, serving
from tests.cluster.load import Load
from tests.cluster.releases import release

WORKERS = 2
OPTIONS = ("--soak", "0.3", "--trial", "0.3", "--drain-quiet", "5", "--drain-timeout", "3")


def reload_often(cluster: Cluster, reloads: int, clients: int) -> Load:
    """Reload again and again; each time wait until the old workers are gone."""
    cluster.write_app(release("r0"))
    cluster.start("-w", str(WORKERS), *OPTIONS, "--no-access-log")
    with Load(
        cluster.port, fresh=clients, kept=clients, posts=4, downloads=2, websockets=4
    ) as load:
        for number in range(1, reloads + 1):
            load.wait_for(500)
            cluster.write_app(release(f"r{number}"))
            cluster.ask("reload")
            cluster.wait("WorkerLeft", count=WORKERS * number)
            assert set(load.wait_for(500)) == {f"r{number}"}
    return load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--clients", type=int, default=32, help="of the first two kinds each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(Path(directory), uuid.uuid4().hex)
        try:
            load = reload_often(cluster, options.reloads, options.clients)
        finally:
            cluster.clean_up()
    print(f"{options.reloads} reloads: {load.tally}")
    print(f"fewest workers that served: {min(serving(cluster.events))} of {WORKERS}")
    print(f"most processes in a slot: {most_in_a_slot(cluster.events)}")
    return 1 if load.failures else 0


if __name__ == "__main__":
    sys.exit(main())
