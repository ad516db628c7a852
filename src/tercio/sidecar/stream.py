"""Server-sent events: what happens, and once a second how it is, as long as somebody looks."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Final

from tercio.errors import ControlError
from tercio.http.asgi import Receive, Send
from tercio.metrics import Snapshot, summary
from tercio.metrics.paces import Paces
from tercio.sidecar.answers import Refused, start_of
from tercio.sidecar.control import Control
from tercio.sidecar.scrape import Scrape

PERIOD: Final = 1.0
"""Seconds between two states."""

_FRESH: Final = 0.9  # seconds for which all viewers get the same state
_MEMORY_AGE: Final = 8  # seconds; measuring it makes the kernel walk the workers' page tables
_HEARTBEAT: Final = 15.0  # seconds
_MOST: Final = 16  # viewers; the primary has places for 32


class States:
    """The state of the cluster, asked for once for all viewers."""

    def __init__(self, control: Control, scrape: Scrape) -> None:
        self._control = control
        self._scrape = scrape
        self._lock = asyncio.Lock()
        self._taken = -PERIOD
        self._line = b""
        self._before: Snapshot | None = None
        self._paces = Paces()

    async def line(self) -> bytes:
        """The newest one as an event. Raises `OSError`, `TimeoutError` and `ControlError`."""
        async with self._lock:
            if time.monotonic() - self._taken >= _FRESH:
                status = await self._control.ask("status", {"memory_age": _MEMORY_AGE})
                paces = self._paces.look(status, time.monotonic())
                now = await asyncio.to_thread(self._scrape.snapshot)
                before, self._before = self._before, now
                state = {
                    "at": time.time(),
                    "status": status,
                    "traffic": _traffic(before, now),
                    "paces": {name: pace.to_fields() for name, pace in paces.items()},
                }
                self._line, self._taken = event_of("state", state), time.monotonic()
            return self._line


def _traffic(before: Snapshot | None, now: Snapshot) -> Mapping[str, object] | None:
    if before is None or now.at - before.at > 5 * PERIOD:
        return None  # nobody looked before: there is nothing to compare with
    return summary.between(before, now, now.at - before.at).to_fields()


def event_of(kind: str, value: object, number: object = None) -> bytes:
    """One event. JSON has no line breaks, so nothing in it can begin another."""
    first = f"id: {number}\n" if isinstance(number, int) else ""
    return f"{first}event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


class Viewers:
    """Those who look now."""

    def __init__(self, control: Control, states: States) -> None:
        self._control = control
        self._states = states
        self._places: list[_Place] = []  # in the order in which they came

    async def serve(
        self,
        receive: Receive,
        send: Send,
        is_welcome: Callable[[], Awaitable[bool]],
        *,
        since: int | None,
        with_state: bool,
        has_token: bool,
    ) -> None:
        """Tell one viewer until it leaves, or is no longer welcome. Raises `Refused`.

        ``since`` is the number of the last event that it knows; None for those to come. When all
        places are taken, one who has a token gets that of the first who has none.
        """
        place = self._take(has_token)
        try:
            headers = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
            await send(start_of(200, headers))
            viewer = _Viewer(self._control, self._states, send)
            works: list[Coroutine[None, None, object]] = [
                viewer.events(since),
                viewer.beat(is_welcome),
                _left(receive),
                place.lost.wait(),
            ]
            if with_state:
                works.append(viewer.states())
            tasks = [asyncio.ensure_future(work) for work in works]
            try:
                # The first one out ends it all.
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await send({"type": "http.response.body", "body": b""})
        finally:
            if place in self._places:
                self._places.remove(place)

    def _take(self, has_token: bool) -> "_Place":
        if len(self._places) >= _MOST:
            strangers = [place for place in self._places if not place.has_token]
            if not has_token or not strangers:
                raise Refused(503, f"{_MOST} viewers look already", {"retry-after": "10"})
            strangers[0].lost.set()
            self._places.remove(strangers[0])
        place = _Place(has_token)
        self._places.append(place)
        return place


class _Place:
    def __init__(self, has_token: bool) -> None:
        self.has_token = has_token
        self.lost = asyncio.Event()


class _Viewer:
    def __init__(self, control: Control, states: States, send: Send) -> None:
        self._control = control
        self._states = states
        self._send = send
        self._writing = asyncio.Lock()

    async def _say(self, text: bytes) -> None:
        # Waits for a slow reader; then the primary's queue for us fills, and it lets us go.
        async with self._writing:
            await self._send({"type": "http.response.body", "body": text, "more_body": True})

    async def events(self, since: int | None) -> None:
        """Pass on what the primary tells, which bounds what waits."""
        try:
            newest = since
            if newest is None:
                result = await self._control.ask("events", {"since": 1 << 53, "follow": False})
                newest = _whole(result.get("newest"))
            async for line in self._control.lines("events", {"since": newest}):
                match line:
                    case {"event": dict(event)}:
                        await self._say(event_of("event", event, event.get("sequence")))
                    case {"error": error}:
                        await self._say(event_of("end", {"error": str(error)}))
                        return
        except (OSError, TimeoutError, ControlError) as error:
            await self._say(event_of("end", {"error": str(error)}))

    async def states(self) -> None:
        """A state each second."""
        try:
            while True:
                await self._say(await self._states.line())
                await asyncio.sleep(PERIOD)
        except (OSError, TimeoutError, ControlError) as error:
            await self._say(event_of("end", {"error": str(error)}))

    async def beat(self, is_welcome: Callable[[], Awaitable[bool]]) -> None:
        """Show proxies that the connection lives, and end it when the token is gone."""
        await self._say(b": tercio\n\n")
        while await is_welcome():
            await asyncio.sleep(_HEARTBEAT)
            await self._say(b":\n\n")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
