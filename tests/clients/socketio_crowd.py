"""JavaScript's Socket.IO client, eight of it, at three workers: `scripts/test-clients` runs this.

Each client says something ten times and hears each of the others exactly once, over polling, over
WebSockets, and when it begins with one and goes on with the other. Then the same after a reload, of
which clients see that their connection ended.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tercio.testing import Running, workers

CLIENTS = 8
ROUNDS = 10
TRANSPORTS = ("polling", "websocket", "polling,websocket")


class Crowd:
    """The process of the clients."""

    def __init__(self, modules: Path, url: str, transports: str) -> None:
        script = Path(__file__).with_name("crowd.mjs")
        # Node looks for packages beside the script.
        placed = modules / script.name
        placed.write_text(script.read_text())
        self._node = subprocess.Popen(
            ["node", str(placed), url, transports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, what: str) -> dict[str, Any]:
        """A "round", which tells where they were and by which transport, or "settle"."""
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(f"{what}\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        if not line:
            raise SystemExit(f"the clients ended with {self._node.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def end(self) -> None:
        with self._node:
            assert self._node.stdin is not None
            self._node.stdin.write("end\n")
            self._node.stdin.flush()


def play(running: Running, modules: Path, transports: str) -> None:
    """Some rounds, a reload, and some more."""
    crowd = Crowd(modules, running.url, transports)
    twice = 0
    used: set[str] = set()
    for is_reloaded in (False, True):
        if is_reloaded:
            before = set(running.pids())
            running.reload()
            while before & {worker["pid"] for worker in running.status()["workers"]}:
                crowd.do("settle")  # the old workers serve their sessions for a while
        crowd.do("settle")
        said = {}
        for _ in range(ROUNDS):
            said = crowd.do("round")
            twice += said["twice"]
            used.update(said["homes"])
        wanted = transports.split(",")[-1]
        if set(said["over"]) != {wanted}:
            raise SystemExit(f"{transports}: they speak over {said['over']}")
    crowd.end()
    if twice:
        raise SystemExit(f"{transports}: {twice} messages were heard twice")
    heard = 2 * ROUNDS * CLIENTS * CLIENTS
    print(
        f"{transports:18} {CLIENTS} of {CLIENTS} clients, {heard} messages, each heard once, "
        f"over a reload, at {len(used)} workers"
    )


def main(modules: Path) -> None:
    """With the packages in this directory."""
    for transports in TRANSPORTS:
        with workers("examples.socketio_chat:app", 3, "--sticky", "query:sid") as running:
            play(running, modules, transports)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
