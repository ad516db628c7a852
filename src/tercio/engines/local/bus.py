"""The bus within one process, for plain processes and tests: same promises, nothing shared.

Several engines at one `Hub` are to each other what the processes of a cluster are.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tercio.bus.engine import Receiver
from tercio.errors import MessageTooLarge

_log = logging.getLogger("tercio.bus")

MESSAGE_LIMIT: Final = 64 << 20
"""Bytes of the largest message."""

_ROOM: Final = 1 << 20  # bytes of messages that wait for one engine
_LARGE: Final = _ROOM // 4  # from here on they count otherwise
_LARGE_ROOM: Final = 2 * MESSAGE_LIMIT
_STRETCH: Final = 0.002  # seconds of one drain
_OVERHEAD: Final = 64  # bytes that any message counts


class Hub:
    """What local engines publish to, and receive from."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.engines: list[LocalBus] = []


@dataclass(frozen=True, slots=True)
class _Letter:
    topic: bytes
    body: bytes
    sender: int
    is_for_sender: bool


class LocalBus:
    """A `BusEngine`; alone at a hub of its own unless it is given one."""

    def __init__(self, hub: Hub | None = None) -> None:
        self._hub = hub or Hub()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: _Stream | None = None
        self._taps: list[_Stream] = []
        self._is_draining = False
        self._rooms: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._sent = self._received = self._lost = 0
        with self._hub.lock:
            self._hub.engines.append(self)

    def send(self, topic: bytes, body: bytes, *, own: bool = True) -> None:
        """See `BusEngine`."""
        if len(body) > MESSAGE_LIMIT:
            raise MessageTooLarge(f"a message of {len(body)} bytes: the limit is {MESSAGE_LIMIT}")
        with self._hub.lock:
            self._sent += 1
            if not own and len(self._hub.engines) == 1:
                return  # nobody but us is here: a bridge says so of every message
            letter = _Letter(topic, body, id(self), own)
            for engine in self._hub.engines:
                engine.post(letter)

    def post(self, letter: _Letter) -> None:
        """Put a message where our streams find it. The caller has the hub's lock."""
        is_own = letter.sender == id(self)
        is_posted = False
        for stream in self._streams():
            if not is_own or (letter.is_for_sender and stream.receiver.wants_own):
                stream.post(letter)
                is_posted = True
        if is_posted:
            self.drain_soon()

    async def flush(self, limit: float) -> None:
        """See `BusEngine`. What was sent is where it gets to already."""

    async def wait_for_room(self, limit: float) -> None:
        """See `BusEngine`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        while True:
            with self._hub.lock:
                taps = [tap for engine in self._hub.engines for tap in engine.taps]
                if all(tap.has_room for tap in taps):
                    return
                room = loop.create_future()
                self._rooms.append((loop, room))
            async with asyncio.timeout_at(deadline):
                await room

    @property
    def taps(self) -> "list[_Stream]":
        """Those that a publisher may have to wait for."""
        return self._taps

    def start(self, receiver: Receiver) -> None:
        """See `BusEngine`."""
        self._bind()
        with self._hub.lock:
            self._main = _Stream(self, receiver)

    def stop_receiving(self) -> None:
        """See `BusEngine`."""
        with self._hub.lock:
            self._main = None

    def tap(self, receiver: Receiver) -> "_Stream":
        """See `BusEngine`."""
        self._bind()
        stream = _Stream(self, receiver)
        with self._hub.lock:
            self._taps.append(stream)
        return stream

    def end(self, stream: "_Stream") -> None:
        """End a tap."""
        with self._hub.lock:
            if stream in self._taps:
                self._taps.remove(stream)
        self._tell_room()

    def counters(self) -> dict[str, int]:
        """See `BusEngine`: sent, received, lost."""
        return {"sent": self._sent, "received": self._received, "lost": self._lost}

    def close(self) -> None:
        """See `BusEngine`."""
        with self._hub.lock:
            self._main, self._taps = None, []
            if self in self._hub.engines:
                self._hub.engines.remove(self)
        self._tell_room()

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            with self._hub.lock:
                # What was received in another loop ended with it.
                self._main, self._taps = None, []
                self._loop, self._is_draining = loop, False

    def _streams(self) -> "list[_Stream]":
        return self._taps if self._main is None else [self._main, *self._taps]

    def drain_soon(self) -> None:
        """Look for messages with the loop's next turn. From any thread."""
        with self._hub.lock:
            if self._is_draining or self._loop is None:
                return
            # A loop that has ended receives nothing.
            with suppress(RuntimeError):
                self._is_draining = True
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._is_draining = False
        until = time.monotonic() + _STRETCH
        is_more = False
        for stream in list(self._streams()):
            try:
                is_more |= stream.drain(until)
            except (Exception, asyncio.CancelledError):
                _log.exception("a message could not be taken")
                is_more = True
        if self._taps:
            self._tell_room()
        if is_more:
            self.drain_soon()

    def count(self, received: int, lost: int) -> None:
        """Count what a stream has given."""
        self._received += received
        self._lost += lost

    def _tell_room(self) -> None:
        with self._hub.lock:
            for engine in (self, *self._hub.engines):
                rooms, engine._rooms = engine._rooms, []
                for loop, room in rooms:
                    with suppress(RuntimeError):  # its loop has ended
                        loop.call_soon_threadsafe(_let_in, room)


def _let_in(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


class _Stream:
    """Messages that wait for one receiver. The taps of `BusEngine`."""

    def __init__(self, engine: LocalBus, receiver: Receiver) -> None:
        self.receiver = receiver
        self._engine = engine
        self._letters: deque[_Letter] = deque()
        self._small = self._large = 0  # bytes that wait
        self._lost: dict[int, int] = {}  # by sender, in the order of the losses
        self._is_paused = False

    @property
    def has_room(self) -> bool:
        return self._small <= _ROOM // 2 and self._large <= MESSAGE_LIMIT

    def post(self, letter: _Letter) -> None:
        self._letters.append(letter)
        self._weigh(letter, 1)
        while self._small > _ROOM or self._large > _LARGE_ROOM:
            gone = self._letters.popleft()
            self._weigh(gone, -1)
            self._lost[gone.sender] = self._lost.get(gone.sender, 0) + 1

    def drain(self, until: float) -> bool:
        """Give messages to the receiver; True if there are more."""
        hub = self._engine._hub
        while not self._is_paused:
            with hub.lock:
                lost, self._lost = self._lost, {}
                letter = self._letters.popleft() if self._letters else None
                if letter is not None:
                    self._weigh(letter, -1)
            for sender, count in lost.items():
                self._engine.count(0, count)
                self.receiver.lost(count, sender)
            if letter is None:
                return False
            self._engine.count(1, 0)
            is_own = letter.sender == id(self._engine)
            routes = self.receiver.own_routes if is_own else self.receiver.routes
            take = routes[letter.topic]
            if take is not None:
                take(letter.body)
            if time.monotonic() >= until:
                return bool(self._letters)
        return False

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._engine.drain_soon()

    def close(self) -> None:
        self._engine.end(self)

    def _weigh(self, letter: _Letter, sign: int) -> None:
        size = len(letter.body)
        self._small += sign * (_OVERHEAD + (size if size < _LARGE else 0))
        self._large += sign * (size if size >= _LARGE else 0)
