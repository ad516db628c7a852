"""An application that treats every request in another way, and clients that leave at any time."""

import asyncio
import random
import socket
import struct
from collections.abc import Iterable

from tercio.http.asgi import Receive, Scope, Send
from tests.http.answers import Unreadable, final
from tests.http.place import Place
from tests.http.streams import cut, spoiled
from tests.http.trials import REFUSALS, Broken
from tests.http.wire import Reset


class Moody:
    """Reads or not, answers at once, in pieces or late, and stays or goes; it never raises."""

    def __init__(self) -> None:
        self.luck = random.Random()
        self.begun = 0
        self.left = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        assert scope["type"] == "http", scope
        self.begun += 1
        try:
            await self._serve(receive, send)
        finally:
            self.left += 1

    async def _serve(self, receive: Receive, send: Send) -> None:
        luck = self.luck
        for _ in range(luck.choice((0, 0, 1, 2, 100))):
            message = await receive()
            if message["type"] == "http.disconnect" or not message["more_body"]:
                break
        for _ in range(luck.choice((0, 0, 1, 5))):
            await asyncio.sleep(0)
        body = b"x" * luck.choice((0, 1, 10, 1000, 100_000))
        has_length = luck.random() < 0.5
        headers = [(b"content-length", b"%d" % len(body))] if has_length else []
        if luck.random() < 0.1:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while body and luck.random() < 0.5:
            await send({"type": "http.response.body", "body": body[:100], "more_body": True})
            body = body[100:]
        await send({"type": "http.response.body", "body": body})
        if luck.random() < 0.1:
            await receive()  # the answer is complete: there is nothing but a disconnect


def tease(server: Place, moody: Moody, seed: str) -> None:
    """One trial: a spoiled stream, an application in a mood, and perhaps a client that leaves."""
    luck = random.Random(seed)
    moody.luck = random.Random(f"{seed} mood")
    moody.begun = moody.left = 0
    data = spoiled(luck)
    received = server.run(_send(server, cut(data, luck), luck))
    if moody.left != moody.begun:
        raise Broken("a request was never left")
    if received is None:
        return
    methods = ["HEAD" if data.startswith(b"HEAD ") else "GET"]
    try:
        answers = final(received, methods)
    except Unreadable:
        if b"HEAD " not in data:  # of whose answers this reader cannot know the end
            raise
        return
    refusals = [answer for answer in answers if answer.status != 200]
    if len(answers) - len(refusals) > moody.begun or len(refusals) > 1:
        raise Broken(f"{len(answers)} answers, {len(refusals)} refusals, {moody.begun} requests")
    if refusals and (answers[-1].status not in REFUSALS or not answers[-1].closes):
        raise Broken(f"a refusal is the last answer, and closes: {answers}")


async def _send(server: Place, pieces: Iterable[bytes], luck: random.Random) -> bytes | None:
    """All that was received, or None if the client left before the end."""
    leaves: str | None = luck.choice((None, None, "fin", "reset"))
    async with server.wire() as wire:
        for piece in pieces:
            await wire.send([piece])
            if leaves and luck.random() < 0.2:
                break
        if leaves is None:
            await wire.turns(60)
            wire.finish()
            try:
                received = await wire.rest()
            except Reset:
                leaves = "reset"  # the server's: it may have answered a last request
        elif leaves == "reset":
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await server.settle()
    return received if leaves is None else None
