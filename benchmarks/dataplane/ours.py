"""Tercio's bus as a peer of the others: its own classes in processes like workers."""

import asyncio
from multiprocessing.reduction import DupFd
from pathlib import Path

from benchmarks.dataplane.peers import TOPIC, Deliver, Peer

from tercio.bus.bus import Bus
from tercio.dataplane.shared import RING_SIZE, Shared
from tercio.engines.embedded.bus import EmbeddedBus


class Tercio(Peer):
    """The embedded bus with a callback."""

    ring_size = RING_SIZE

    def prepare(self, processes: int, directory: Path) -> None:
        self._shared = Shared.create(processes, self.ring_size)

    def __getstate__(self) -> dict[str, object]:
        for descriptor in self._shared.descriptors:
            DupFd(descriptor)  # inherited, with the same number
        return {"_record": self._shared.to_record()}

    def close(self) -> None:
        self._shared.close()

    async def join(self, me: int, deliver: Deliver) -> None:
        self.bus = self._open(me)
        self.bus.on(TOPIC, deliver, type=bytes, own=False)
        self.bus.start()

    def _open(self, me: int) -> Bus:
        self._record: dict[str, int]
        shared = Shared.attach(self._record)
        return Bus(EmbeddedBus(shared.rings, me, shared.scoreboard.row(me)))

    async def publish(self, messages: list[bytes]) -> None:
        publish = self.bus.publish
        for message in messages:
            publish(TOPIC, message)

    def tell(self) -> dict[str, int]:
        return self.bus.counters()


class TercioIterated(Tercio):
    """The same, taken by ``async for``."""

    async def join(self, me: int, deliver: Deliver) -> None:
        self.bus = self._open(me)
        self._task = asyncio.create_task(self._listen(deliver))
        await asyncio.sleep(0)  # it subscribes

    async def _listen(self, deliver: Deliver) -> None:
        # Room for the whole window: what is measured is no loss.
        subscription = self.bus.subscribe(TOPIC, type=bytes, own=False, capacity=1 << 14)
        async with subscription as messages:
            async for message in messages:
                deliver(TOPIC, message)


class LargeRings(Tercio):
    """With rings of 16 MiB, as the larger windows of the research had them."""

    ring_size = 16 << 20
