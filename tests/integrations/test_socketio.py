"""Socket.IO servers that are one; more of it is in scripts/test-upstream."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]

from tercio import cluster
from tercio.integrations.socketio import AsyncTercioManager, TercioManager, own_sessions
from tercio.testing import workers

PATIENCE = 30
CLIENTS = 6
CROWDS = 10

APP = """
import socketio
from tercio import cluster
from tercio.integrations.socketio import AsyncTercioManager, own_sessions

server = socketio.AsyncServer(
    async_mode="asgi", client_manager=AsyncTercioManager(), ping_interval=1
)
own_sessions(server)

@server.event
async def where(sid):
    return cluster.worker.id

@server.event
async def enter(sid, room):
    await server.enter_room(sid, room)

# No bytes: engineio 4.15 keeps how a packet was encoded for a WebSocket, and fails to send the same
# one to a client that polls.
@server.event
async def say(sid, room, text):
    await server.emit("said", (text, [text]), room=room)

app = socketio.ASGIApp(server)
"""


async def heard_by(manager: Any) -> object:
    return await anext(manager._listen())


async def test_a_manager_hears_what_another_one_publishes() -> None:
    listening = asyncio.create_task(heard_by(AsyncTercioManager("a b.c*")))
    await asyncio.sleep(0)
    writer = AsyncTercioManager("a b.c*", write_only=True)
    await AsyncTercioManager("another", write_only=True).emit("nobody", 1)
    await writer._publish({"method": "emit", "data": [1]})
    assert await listening == {"method": "emit", "data": [1]}


async def test_a_manager_whose_cluster_has_ended_waits_instead_of_spinning() -> None:
    messages = AsyncTercioManager()._listen()
    listening = asyncio.ensure_future(anext(messages))
    await asyncio.sleep(0)
    cluster.bus.fail("the cluster has ended")
    done, _ = await asyncio.wait([listening], timeout=0.1)
    assert not done
    listening.cancel()


async def test_a_manager_of_threads_hears_and_publishes_in_threads() -> None:
    cluster.bus.start()  # as a worker does
    manager, heard, got = TercioManager(), [], threading.Event()

    def listen() -> None:
        for message in manager._listen():
            heard.append(message)
            got.set()
            return

    thread = threading.Thread(target=listen)
    thread.start()
    while not got.is_set():  # until it listens
        await asyncio.to_thread(manager._publish, {"method": "close_room"})
        await asyncio.to_thread(got.wait, 0.05)
    thread.join()
    assert heard == [{"method": "close_room"}]


def test_ids_outside_of_a_worker_are_those_of_the_server() -> None:
    server = socketio.AsyncServer(async_mode="asgi")
    own_sessions(server)
    assert server.eio.generate_id() != server.eio.generate_id()


class Client:
    """A client and what it has heard."""

    def __init__(self) -> None:
        self.socket = socketio.AsyncClient(reconnection=False)
        self.heard: list[tuple[str, list[str]]] = []
        self.changed = asyncio.Event()
        self.socket.on("said", self._hear)

    async def _hear(self, text: str, more: list[str]) -> None:
        self.heard.append((text, more))
        self.changed.set()

    async def hear_all(self, texts: set[str]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not texts <= {text for text, _ in self.heard}:
                self.changed.clear()
                await self.changed.wait()


async def talk(url: str) -> bool:
    """Whether clients of several workers talked to each other, each message once to each."""
    clients = [Client() for _ in range(CLIENTS)]
    for number, client in enumerate(clients):
        transports = ["polling"] if number % 2 else ["websocket"]
        await client.socket.connect(url, transports=transports, wait_timeout=PATIENCE)
        await client.socket.call("enter", "room", timeout=PATIENCE)
    homes = {await each.socket.call("where", timeout=PATIENCE) for each in clients}
    if len(homes) > 1:
        texts = {f"text {number}" for number in range(CLIENTS)}
        for text, client in zip(sorted(texts), clients, strict=True):
            await client.socket.emit("say", ("room", text))
        await asyncio.gather(*(client.hear_all(texts) for client in clients))
        for client in clients:
            assert sorted(client.heard) == [(text, [text]) for text in sorted(texts)]
    for client in clients:
        await client.socket.eio.disconnect(abort=True)  # a goodbye would wait for the poll
    return len(homes) > 1


@pytest.mark.skipif(sys.platform != "linux", reason="its connections move by Linux")
def test_clients_of_all_workers_hear_what_is_emitted_in_one(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(APP)
    options = ("--sticky", "query:sid", "--stop-timeout", "0.5")
    with workers("chat:app", 3, *options, cwd=tmp_path) as running:

        async def crowds() -> bool:
            # On a busy machine the one that is awake may take a whole crowd, but not each time.
            for _ in range(CROWDS):
                if await talk(running.url):
                    return True
            return False

        assert asyncio.run(crowds())
        output = running.output()
    assert "Traceback" not in output
