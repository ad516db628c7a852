"""One worker without a primary: server, exchange, rescue, and an application that blocks."""

import asyncio
import mmap
import os
import random
import signal
import socket
import sys
import time
from typing import Any

from tercio.config import Config
from tercio.dataplane.scoreboard import Field, WorkerPhase
from tercio.dataplane.shared import Shared
from tercio.handover.detaching import epoll_of
from tercio.handover.exchange import Exchange
from tercio.handover.mover import Mover
from tercio.handover.rescue import Rescue
from tercio.servers.tercio import TercioServer
from tercio.system import lifeline
from tercio.worker.counts import Counts
from tests.handover.storm import mutants

Message = dict[str, Any]


class App:
    """Answers with the path. Some requests block, before their answer or behind it.

    ``calls`` are the numbers of calls by seat, in memory that the processes share.
    """

    def __init__(self, share: float, seconds: float, calls: mmap.mmap, *, spins: float) -> None:
        self.seat = 0
        self.calls = memoryview(calls).cast("Q")
        self.share = share
        self.seconds = seconds
        self.spins = spins

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        self.calls[self.seat] += 1
        if scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
        blocks = random.random() < self.share
        before = random.random() < 0.7
        if blocks and before:
            self.block()
        body = scope["raw_path"]
        headers = [(b"content-length", b"%d" % len(body)), (b"x-pid", b"%d" % os.getpid())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if blocks and not before:
            self.block()

    def block(self) -> None:
        if random.random() >= self.spins:
            time.sleep(self.seconds)
            return
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            sum(range(100))


class Nobody:
    """A `rescue.Witness` without a debugger."""

    def is_excused(self) -> bool:
        return False

    def culprit(self) -> str:
        return "the storm"

    def rely(self, *, on_us: bool) -> None:
        pass  # no watchdog runs here

    def hurry(self) -> None:
        pass


def run(
    seat: int, shared: Shared, listener: socket.socket, app: App, options: dict[str, Any]
) -> None:
    """Serve until SIGTERM; the process ends with it."""
    app.seat = seat
    lifeline.set_parent_death(os.getppid())
    if options["loop"] == "uvloop":
        import uvloop

        factory: Any = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(seat, shared, listener, app, options))


async def _serve(
    seat: int, shared: Shared, listener: socket.socket, app: App, options: dict[str, Any]
) -> None:
    loop = asyncio.get_running_loop()
    if options["eager"]:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    row = shared.scoreboard.row(seat)
    row[Field.PID] = os.getpid()
    row[Field.INCARNATION] = seat + 1
    server = TercioServer(Config(access_log=False), _note)
    await server.start(app, [listener], Counts(row))  # type: ignore[arg-type]
    assert shared.tickets is not None
    assert shared.inboxes is not None
    exchange = Exchange(seat, seat + 1, shared.scoreboard, shared.tickets, shared.inboxes)
    mover = Mover(exchange, server)
    mover.open(loop)
    if options["after"]:
        await Rescue(mover, row, options["after"], Nobody(), _note).start(loop)
    if options["always"]:
        mutants.be_rash()
    mutants.apply(options["mutant"])  # after the trial, which notices most of them
    await server.serve()
    row[Field.PHASE] = WorkerPhase.SERVING
    _look_around(loop, epoll_of(loop))
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    opened = len(os.listdir("/proc/self/fd"))
    if opened > len(server.service.connections) + 60:
        print(f"{opened} descriptors are open", file=sys.stderr)
    os._exit(0)


def _look_around(loop: asyncio.AbstractEventLoop, epoll: int) -> None:
    """Say what the loop's epoll waits for that is not what its number stands for any more."""
    loop.call_later(0.1, _look_around, loop, epoll)  # no task: nothing is rescued meanwhile
    with open(f"/proc/self/fdinfo/{epoll}") as file:
        entries = [line.split() for line in file if line.startswith("tfd:")]
    for entry in entries:
        fd, ino = int(entry[1]), int(entry[-2].removeprefix("ino:"), 16)
        try:
            is_same = os.fstat(fd).st_ino == ino
        except OSError:
            is_same = False
        if not is_same:
            print(f"epoll still waits for what descriptor {fd} was", file=sys.stderr)
            os._exit(4)


def _note(level: str, text: str) -> None:
    if level != "info":
        print(text, file=sys.stderr)
