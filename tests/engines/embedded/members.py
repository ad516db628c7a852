"""Real processes that share rings: ``python -m tests.engines.embedded.members ROLE RECORD SEAT …``.

They say what they found in lines of JSON, and do what a line on their input asks.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tercio.bus.bus import Bus
from tercio.dataplane.rings import Rings
from tercio.engines.embedded.bus import EmbeddedBus
from tercio.errors import ForkedFromWorker

ROOT = Path(__file__).parents[3]
SIZES = (9, 64, 500, 3000, 20_000, 60_000, 200_000, 1_200_000)


class Member:
    """One process, from the outside."""

    def __init__(self, role: str, rings: Rings, seat: int, *arguments: object) -> None:
        record = rings.to_record()
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", __name__, role, json.dumps(record), str(seat),
                *map(str, arguments),
            ],
            cwd=ROOT,
            pass_fds=list(record.values()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self) -> Any:
        """The next thing it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it ended without a word"
        return json.loads(line)

    def ask(self, what: str = "report") -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(what.encode() + b"\n")
        self.process.stdin.flush()
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.process:
            self.process.kill()


def say(what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


async def orders() -> str:
    """The next line of our input; nothing when the test is over."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(0, there.set)
    await there.wait()
    loop.remove_reader(0)
    return os.read(0, 100).decode().strip()


# Roles


def write_checked(bus: Bus, name: int) -> None:
    """Messages that show whether they are whole, at full speed, until we are killed."""

    async def write() -> None:
        chance = random.Random(name)
        number = 0
        while True:
            if number == 20:
                say("ready")  # some of it is on its way
            body = chance.randbytes(chance.choice(SIZES))
            number += 1
            bus.publish("checked", [name, number, zlib.crc32(body), body])
            if number % 4 == 0:
                await asyncio.sleep(0)

    asyncio.run(write())


def read_checked(bus: Bus) -> None:
    """Look at each message; lag now and then, so that we are lapped."""
    found = {"good": 0, "corrupt": 0, "disorder": 0}
    last: dict[int, int] = {}

    async def read() -> None:
        def look(topic: str, message: list[Any]) -> None:
            name, number, total, body = message
            found["corrupt" if zlib.crc32(body) != total else "good"] += 1
            found["disorder"] += number <= last.get(name, 0)
            last[name] = number
            if random.random() < 0.001:
                time.sleep(random.random() * 0.004)

        bus.on("checked", look)
        say("ready")
        while await orders():
            counts = bus.counters()
            say({**found, "lost": counts["lost"], "bad": counts["bad"], "last": last})

    asyncio.run(read())


def publish_numbers(bus: Bus, topic: str, count: str, size: str, rate: str) -> None:
    """Numbers at a rate a second; 0 is as fast as a turn of the loop each 10 allows."""

    async def publish() -> None:
        say("ready")
        await orders()
        body = bytes(int(size))
        began = time.monotonic()
        for number in range(int(count)):
            bus.publish(topic, [number, body])
            if int(rate):
                ahead = number / int(rate) - (time.monotonic() - began)
                await asyncio.sleep(max(0.0, ahead))
            elif number % 10 == 0:
                await asyncio.sleep(0)
        await bus.flush()
        say("done")
        await orders()

    asyncio.run(publish())


def count_numbers(bus: Bus, topic: str) -> None:
    """Count what comes, and say whether it came in order."""

    async def count() -> None:
        messages = bus.subscribe(topic, type=tuple[int, bytes], capacity=1_000_000)
        counted = {"delivered": 0, "disorder": 0, "last": -1}

        async def take() -> None:
            async for number, _ in messages:
                counted["delivered"] += 1
                counted["disorder"] += number <= counted["last"]
                counted["last"] = number

        async with asyncio.TaskGroup() as tasks:
            taking = tasks.create_task(take())
            say("ready")
            while await orders():
                say({**counted, "gaps": messages.gaps, "dropped": messages.dropped})
            taking.cancel()

    asyncio.run(count())


async def watch_lag(worst: list[float]) -> None:
    """How late timers are, in seconds, at the worst."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        worst[0] = max(worst[0], loop.time() - due)


def publish_stamped(bus: Bus, topic: str, rate: str, size: str) -> None:
    """Numbers with the time, ``rate`` a second, from an order to the next; then how many.

    The order "lag" asks only how late our loop was.
    """

    async def publish(lag: list[float]) -> None:
        body = bytes(int(size))
        number, began = 0, time.monotonic()
        stop = asyncio.create_task(orders())
        while not stop.done():
            while number < (time.monotonic() - began) * int(rate):
                bus.publish(topic, [number, time.monotonic_ns(), body])
                number += 1
            await asyncio.sleep(0.001)
            if stop.done() and stop.result() == "lag":
                say(lag[0])
                lag[0] = 0.0
                stop = asyncio.create_task(orders())
        await bus.flush()
        say(number)
        await orders()

    async def run() -> None:
        lag = [0.0]
        say("ready")
        await orders()
        say("begun")
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch_lag(lag))
            await publish(lag)
            watching.cancel()

    asyncio.run(run())


def time_stamped(bus: Bus, topic: str) -> None:
    """Say how late messages came since we were asked before, and what came in all."""

    async def run() -> None:
        messages = bus.subscribe(topic, type=tuple[int, int, bytes], capacity=1_000_000)
        late: list[int] = []
        lag = [0.0]
        found = {"delivered": 0, "disorder": 0, "last": -1}

        async def take() -> None:
            async for number, sent, _ in messages:
                late.append(time.monotonic_ns() - sent)
                found["delivered"] += 1
                found["disorder"] += number <= found["last"]
                found["last"] = number

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(take()), tasks.create_task(watch_lag(lag))]
            say("ready")
            while await orders():
                late.sort()
                p99 = late[len(late) * 99 // 100] / 1e9 if late else None
                say(
                    {
                        **found, "gaps": messages.gaps, "dropped": messages.dropped,
                        "p99": p99, "came": len(late), "lag": lag[0],
                    }
                )  # fmt: skip
                late.clear()
                lag[0] = 0.0
            for task in running:
                task.cancel()

    asyncio.run(run())


def publish_and_leave(bus: Bus, where: str) -> None:
    """Publish, and end without giving the loop another turn."""
    if where == "thread":
        bus.publish("farewell", "without a loop")
        return

    async def publish() -> None:
        bus.publish("farewell", "in a loop")
        sys.exit(0)

    asyncio.run(publish())


def fork_and_publish(bus: Bus) -> None:
    """A forked child must not write its parent's ring."""

    async def publish() -> None:
        bus.publish("before", 1)
        child = os.fork()
        if child == 0:
            try:
                bus.publish("child", 1)
            except ForkedFromWorker:
                os._exit(7)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        bus.publish("after", os.waitstatus_to_exitcode(status))
        await bus.flush()

    asyncio.run(publish())


def idle(bus: Bus, patterns: str) -> None:
    """Do nothing, subscribed or not."""

    held: list[object] = []

    async def wait() -> None:
        if patterns:
            held.append(bus.subscribe(patterns))
        bus.publish("something", 1)
        await bus.flush()
        say("ready")
        await orders()

    asyncio.run(wait())


ROLES: dict[str, Callable[..., None]] = {
    "write_checked": lambda bus, name: write_checked(bus, int(name)),
    "read_checked": read_checked,
    "publish_numbers": publish_numbers,
    "count_numbers": count_numbers,
    "publish_stamped": publish_stamped,
    "time_stamped": time_stamped,
    "publish_and_leave": publish_and_leave,
    "fork_and_publish": fork_and_publish,
    "idle": idle,
}

if __name__ == "__main__":
    role, record, seat, *rest = sys.argv[1:]
    ROLES[role](Bus(EmbeddedBus(Rings.attach(json.loads(record)), int(seat))), *rest)
