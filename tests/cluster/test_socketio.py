"""Socket.IO over several workers without a proxy in front: each client has one of them."""

import asyncio
import sys

import pytest
import socketio  # type: ignore[import-untyped]

from tests.cluster.harness import PATIENCE, QUICK, Cluster

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its connections move by Linux")

CLIENTS = 8
CROWDS = 10

APP = """
import socketio
from tercio import cluster

server = socketio.AsyncServer(async_mode="asgi", ping_interval=1)  # a poll takes that long
server.eio.generate_id = lambda: cluster.worker.affinity_token()

@server.event
async def echo(sid, data):
    return [data, cluster.worker.id]

app = socketio.ASGIApp(server)
"""


async def talk(port: int, transports: list[str]) -> set[str]:
    """The workers that answered one client."""
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(f"http://127.0.0.1:{port}", transports=transports)
    homes = set()
    for number in range(10):
        said, home = await client.call("echo", number, timeout=PATIENCE)
        assert said == number
        homes.add(home)
    await client.eio.disconnect(abort=True)  # a goodbye would wait for the poll
    return homes


@pytest.mark.parametrize("transports", [["polling"], ["polling", "websocket"]])
def test_every_client_of_socket_io_speaks_with_one_worker(
    cluster: Cluster, transports: list[str]
) -> None:
    cluster.write_app(APP)
    # A poll may be under way for 25 s when its client has gone.
    options = ("--sticky", "query:sid", "--stop-timeout", "0.5")
    cluster.start("-w", "3", *QUICK, "--no-access-log", *options)

    async def crowd() -> list[set[str]]:
        return await asyncio.gather(*(talk(cluster.port, transports) for _ in range(CLIENTS)))

    seen: set[str] = set()
    for _ in range(CROWDS):
        homes = asyncio.run(crowd())
        assert all(len(each) == 1 for each in homes)
        seen.update(*homes)
        if len(seen) > 1:
            break
    # On a busy machine the one that is awake may take a whole crowd, but not each time.
    assert len(seen) > 1
