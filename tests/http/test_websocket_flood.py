"""A flood over WebSockets against a worker: its memory stays small, and a polite client is served.

Numbers are those of the small tier of the chaos tests (C39); bounds are counts and bytes, no times.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

import pytest

from tercio.dataplane.scoreboard import Field
from tests.http.framing import BINARY, CONTINUATION, PING, TEXT, Frame, encode
from tests.http.harness import LIMIT
from tests.http.upgraded import WebSocketWire
from tests.worker.rig import Rig

KIB = 1024
MIB = 1024 * KIB
CLIENTS = 15
"""Of each kind."""

FLOODS: dict[str, Callable[[int], bytes]] = {
    "reads no echo": lambda turn: encode(TEXT, b"x" * 1000) * 64,
    "reads no pong": lambda turn: encode(PING, b"x" * 100) * 640,
    "one message of 16 MiB": lambda turn: (
        encode(BINARY, b"", length=16 * MIB) if not turn else bytes(64 * KIB)
    ),
    "a message without an end": lambda turn: encode(
        CONTINUATION if turn else TEXT, b"x" * (64 * KIB), is_last=False
    ),
}
REFUSED = ("one message of 16 MiB", "a message without an end")


def test_a_flood_costs_little_and_harms_nobody(loop: str) -> None:
    # Whoever is refused has time to read why, on the slowest machine.
    options = {"server": "tercio", "loop": loop, "linger": 60.0, "linger_size": 64 * MIB}
    with Rig(options=options) as rig:
        rig.serving()
        before = _resident(rig.process.pid)
        asyncio.run(_flood(rig, before))
        rig.count(Field.CONNECTIONS, 0)
        rig.count(Field.WEBSOCKETS, 0)
        assert rig.get()[0] == 200


async def _flood(rig: Rig, before: int) -> None:
    async with WebSocketWire(rig.address) as polite:
        assert await polite.upgrade() == 101
        done = asyncio.Event()
        floods = [
            asyncio.ensure_future(_one(rig, name, done)) for name in FLOODS for _ in range(CLIENTS)
        ]
        try:
            for number in range(100):
                await polite.send([encode(TEXT, b"%d" % number)])
                assert await polite.frame() == Frame(TEXT, b"%d" % number)
            codes = await _codes(floods, len(REFUSED) * CLIENTS)
            assert codes == [1009] * len(codes)
            # 60 clients that want more than a GB. An inbox holds 256 KiB, a message 1 MiB, the
            # transport 64 KiB and what it was given last.
            grown = _resident(rig.process.pid) - before
            assert grown < 150 * MIB, f"{grown >> 20} MiB"
            await polite.send([encode(TEXT, b"the last")])
            assert await polite.frame() == Frame(TEXT, b"the last")
        finally:
            done.set()
            await asyncio.gather(*floods)
        assert await polite.close() == (1000, "")


async def _one(rig: Rig, name: str, done: asyncio.Event) -> int | None:
    """Flood until nobody takes more, or refuses; the close code of a refusal."""
    asked = FLOODS[name]
    async with WebSocketWire(rig.address) as wire:
        assert await wire.upgrade() == 101
        refusal = asyncio.ensure_future(wire.end()) if name in REFUSED else None
        for turn in range(400):
            if refusal is not None and refusal.done():
                break
            with contextlib.suppress(TimeoutError, ConnectionError):
                # A second without a byte taken: whoever is not refused is stopped like this.
                await asyncio.wait_for(_send(wire, asked(turn)), 1.0)
                continue
            break
        if refusal is not None:
            return (await refusal)[0]
        await done.wait()
        return None


async def _send(wire: WebSocketWire, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(wire.sock, data)


async def _codes(floods: Sequence["asyncio.Future[int | None]"], count: int) -> list[int | None]:
    async with asyncio.timeout(2 * LIMIT):
        while sum(flood.done() for flood in floods) < count:
            await asyncio.wait(
                [flood for flood in floods if not flood.done()],
                return_when=asyncio.FIRST_COMPLETED,
            )
    return [flood.result() for flood in floods if flood.done()]


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
