"""A connection that was accepted just before its loop blocks is served by somebody else."""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from tercio.handover.detaching import Detacher
from tercio.handover.moments import Moments
from tercio.servers.acceptor import Acceptor, Gate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll")

PATIENCE = 30.0


class Open:
    """A gate that lets all in, and says when they have arrived."""

    def __init__(self) -> None:
        self.arrived_all = asyncio.Event()

    def has_room(self) -> bool:
        return True

    def is_anothers(self, acceptor: Acceptor) -> bool:
        return False

    def arrives(self) -> None:
        pass

    def ran_out(self, error: OSError) -> None:
        raise error

    def arrived(self) -> None:
        self.arrived_all.set()


class Deaf(asyncio.Protocol):
    """It should not be told anything but its end."""

    def __init__(self, seen: list[str]) -> None:
        self.asked = 0
        self.is_at_rest, self.is_lost, self.is_released = True, False, False
        self.seen = seen
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.seen.append("made")

    def data_received(self, data: bytes) -> None:
        self.seen.append("data")

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append("lost")
        self.ended.set()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("turns", [0, 1])
def test_an_arrival_moves_whether_its_transport_is_made_or_not(
    loop: Callable[[], asyncio.AbstractEventLoop], turns: int
) -> None:
    seen: list[str] = []
    blocked, free = threading.Event(), threading.Event()

    async def serve() -> tuple[list[str], bytes]:
        running = asyncio.get_running_loop()
        detacher, moments, gate = Detacher(running), Moments(running), Open()
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()) as client,
        ):
            client.settimeout(PATIENCE)
            accepted, _ = listener.accept()
            client.sendall(b"hello?")
            protocol = Deaf(seen)
            acceptor = Acceptor(listener, lambda: protocol, None, cast("Gate", gate))
            acceptor.take(accepted)
            for _ in range(turns):
                await asyncio.sleep(0)
            (arrival,) = acceptor.movable()
            kept: list[socket.socket | None] = []

            def rescue() -> None:
                blocked.wait(PATIENCE)
                moment = moments.now()
                assert moment is not None
                fd = arrival.connection.fileno()
                if arrival.protocol is None:
                    kept.append(detacher.detach_arrival(arrival, fd, moment))
                else:
                    kept.append(detacher.detach(protocol, fd, 0, moment))
                free.set()

            thread = threading.Thread(target=rescue)
            thread.start()
            blocked.set()
            free.wait(PATIENCE)  # this blocks the loop, inside of a task
            thread.join()
            assert kept[0] is not None
            async with asyncio.timeout(PATIENCE):
                await gate.arrived_all.wait()
                if seen:
                    await protocol.ended.wait()
            with kept[0] as ours:
                received = ours.recv(100)
                ours.sendall(b"hello!")
                answer = client.recv(100)
            assert received == b"hello?"
            detacher.close()
            return seen, answer

    with asyncio.Runner(loop_factory=loop) as runner:
        told, answer = runner.run(serve())
    assert answer == b"hello!"
    assert told in ([], ["made", "lost"])


def test_an_arrival_that_has_arrived_stays() -> None:
    async def serve() -> None:
        running = asyncio.get_running_loop()
        detacher, moments, gate = Detacher(running), Moments(running), Open()
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()),
        ):
            accepted, _ = listener.accept()
            seen: list[str] = []
            protocol = Deaf(seen)
            acceptor = Acceptor(listener, lambda: protocol, None, cast("Gate", gate))
            acceptor.take(accepted)
            (arrival,) = acceptor.movable()
            fd = arrival.connection.fileno()
            await gate.arrived_all.wait()
            found: list[object] = []
            free = threading.Event()

            def rescue() -> None:
                while (moment := moments.now()) is None:
                    time.sleep(0)
                found.append(detacher.detach_arrival(arrival, fd, moment))
                free.set()

            thread = threading.Thread(target=rescue)
            thread.start()
            free.wait(PATIENCE)
            thread.join()
            assert found == [None]
            assert seen == ["made"]
        await protocol.ended.wait()
        detacher.close()

    asyncio.run(serve())
