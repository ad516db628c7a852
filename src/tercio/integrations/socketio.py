"""Socket.IO servers of all workers as one: emits, rooms and disconnects reach every client.

server = socketio.AsyncServer(async_mode="asgi", client_manager=AsyncTercioManager())
own_sessions(server)  # with --sticky query:sid, so that polling finds its worker
"""

import asyncio
import logging
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from socketio import AsyncServer, PubSubManager, Server  # type: ignore[import-untyped]
from socketio.async_pubsub_manager import AsyncPubSubManager  # type: ignore[import-untyped]

from tercio import cluster
from tercio.errors import NoCluster, SubscriptionLost

_log = logging.getLogger("tercio.socketio")

_CAPACITY: Final = 10_000
"""Messages that wait for a server that does not keep up; the oldest are lost then."""


class AsyncTercioManager(AsyncPubSubManager):  # type: ignore[misc]  # it has no types
    """For `socketio.AsyncServer`. With ``write_only=True`` it emits from any process."""

    name = "tercio"

    async def _publish(self, data: dict[str, Any]) -> None:
        cluster.bus.publish(_topic(self.channel), data)

    async def _listen(self) -> AsyncIterator[object]:
        try:
            topic = _topic(self.channel)
            async with cluster.bus.subscribe(topic, capacity=_CAPACITY) as messages:
                async for message in messages:
                    yield message
        except (NoCluster, SubscriptionLost) as error:
            _log.warning("clients of this process hear of no other one any more: %s", error)
        # Its caller takes an end for a fault, and an error for a reason to come back at once.
        await asyncio.get_running_loop().create_future()


class TercioManager(PubSubManager):  # type: ignore[misc]  # it has no types
    """For `socketio.Server`, whose handlers run in threads."""

    name = "tercio"

    def _publish(self, data: dict[str, Any]) -> None:
        cluster.bus.publish(_topic(self.channel), data)

    def _listen(self) -> Iterator[object]:
        messages: queue.Queue[object] = queue.Queue(_CAPACITY)
        handle = cluster.bus.on(_topic(self.channel), lambda _, message: _put(messages, message))
        try:
            while True:
                yield messages.get()
        finally:
            handle.cancel()


def own_sessions(server: AsyncServer | Server) -> None:
    """Let the ids of a server's sessions say which worker has them.

    A client that polls comes with each request anew: with ``--sticky query:sid`` it is led to the
    worker that its id names. Clients of WebSockets alone need neither.
    """
    generate: Callable[[], str] = server.eio.generate_id

    def owned() -> str:
        return cluster.worker.affinity_token() if cluster.mode == "worker" else generate()

    server.eio.generate_id = owned


def _topic(channel: str) -> str:
    """Characters that have a meaning in topics, or none at all, are spelt out."""
    spelt = "".join(
        each if each.isalnum() or each in "-_" else f"%{ord(each):x}" for each in channel
    )
    return f"tercio-socketio.{spelt}"


def _put(messages: "queue.Queue[object]", message: object) -> None:
    while True:
        try:
            messages.put_nowait(message)
            return
        except queue.Full:
            try:
                messages.get_nowait()
                _log.warning("a message was lost: this server has %d to handle", _CAPACITY)
            except queue.Empty:
                pass  # the listener was faster
