"""Messages between the processes of a cluster, by topic. At most once, in order per publisher."""
# ruff: noqa: ASYNC109  # a caller's time-out is part of what is asked for, as everywhere here

import inspect
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar, cast, overload

from tercio.bus.desk import REQUESTS, Desk, Entry, by_topic
from tercio.bus.engine import BusEngine
from tercio.bus.home import Home
from tercio.bus.listener import Handle, Listener
from tercio.bus.mailbox import Mailbox, Policy
from tercio.bus.mailboxes import Mailboxes
from tercio.bus.requests import Answerer, Asker
from tercio.bus.subscription import Subscription
from tercio.bus.topics import encode_topic, own_pattern, parse_pattern
from tercio.codec import UNENCODABLE, encode, encoder
from tercio.errors import NoCluster

_log = logging.getLogger("tercio.bus")

T = TypeVar("T")

_NO_LIMIT: Final = 1 << 62  # the engine knows the limit
_REMEMBERED: Final = 4096
_pack: Final = encoder()


class Bus:
    """Publish and subscribe. ``publish`` may be called in any thread, the rest in the loop's.

    `on` and `reply` may also be called before there is a loop: they hear what comes after `start`.
    """

    def __init__(self, engine: BusEngine, *, is_workers: bool = False) -> None:
        """With ``is_workers`` the loop that it is meant for is that of the main thread."""
        self._engine = engine
        self._is_workers = is_workers
        self._home = Home()
        self._why_over = ""
        self._is_closed = False
        self._send = engine.send
        self._topics: dict[str, bytes] = {}
        self._desk = Desk()
        self._mailboxes = Mailboxes()
        self._is_receiving = False
        self._asker: Asker | None = None

    # Publishing

    def publish(self, topic: str, message: object, *, own: bool = True) -> None:
        """Send ``message`` to whoever subscribed to ``topic``, in any process of the cluster.

        It never waits: messages leave with the next turn of the loop, or at once where none runs.
        Without ``own`` the subscriptions of this process do not get it.
        Raises `ValueError` for a bad topic, `Unencodable`, or `MessageTooLarge` (64 MiB).
        """
        encoded = self._topics.get(topic)
        if encoded is None:
            encoded = self._learn(topic)
        try:
            body = _pack(message)
        except UNENCODABLE:
            body = encode(message, _NO_LIMIT)  # says what to do
        self._send(encoded, body, own=own)

    async def send(
        self, topic: str, message: object, *, own: bool = True, timeout: float = 1.0
    ) -> None:
        """Publish as soon as no subscription with the policy "block" would lose by it.

        Raises `TimeoutError` after ``timeout`` seconds, and nothing was sent then.
        """
        await self._engine.wait_for_room(timeout)
        self.publish(topic, message, own=own)

    async def flush(self, timeout: float = 1.0) -> None:
        """Return when the end of this process cannot undo what was published.

        Raises `TimeoutError` after ``timeout`` seconds.
        """
        await self._engine.flush(timeout)

    # Subscribing

    @overload
    def subscribe(
        self,
        *patterns: str,
        type: None = None,
        own: bool = True,
        policy: Policy = "drop-oldest",
        capacity: int = 1000,
    ) -> Subscription[object]: ...
    @overload
    def subscribe(
        self,
        *patterns: str,
        type: type[T],
        own: bool = True,
        policy: Policy = "drop-oldest",
        capacity: int = 1000,
    ) -> Subscription[T]: ...

    def subscribe(
        self,
        *patterns: str,
        type: object = None,
        own: bool = True,
        policy: Policy = "drop-oldest",
        capacity: int = 1000,
    ) -> Subscription[object]:
        """Hear messages whose topic matches a pattern, from now on.

        At most ``capacity`` messages wait to be taken. When more come, "drop-oldest" throws the
        oldest away, "disconnect" ends the subscription with `SubscriptionLost`, and "block" holds
        up those who publish with `send`. Each message is checked against ``type`` and left out if
        it is none. Without ``own`` what this process publishes is left out.
        Raises `ValueError` for a bad pattern, `RuntimeError` without a running loop.
        """
        self._attach()
        if not patterns:
            raise ValueError("subscribe to at least one pattern")
        parsed = tuple(parse_pattern(pattern) for pattern in patterns)
        mailbox = Mailbox(policy, capacity, ", ".join(patterns))
        made: Subscription[object] = Subscription(type, mailbox)
        entry = Entry(parsed, by_topic(mailbox.put), own, mailbox.lose)
        if policy == "block":
            desk = Desk()
            desk.add(entry)
            tap = self._engine.tap(desk)
            if tap is not None:

                def end_tap() -> None:
                    desk.remove(entry)
                    tap.close()
                    self._mailboxes.forget(mailbox)

                mailbox.begin(end_tap, tap)
                self._mailboxes.add(mailbox)
                return made

        def end() -> None:
            self._remove(entry)
            self._mailboxes.forget(mailbox)

        mailbox.begin(end)
        self._mailboxes.add(mailbox)
        self._add(entry)
        return made

    def on(
        self,
        pattern: str,
        callback: Callable[[str, T], object],
        *,
        type: type[T] | None = None,
        own: bool = True,
    ) -> Handle:
        """Call ``callback(topic, message)`` in the loop for each message that matches.

        What it raises is logged. It must be short: all messages wait for it. Raises `TypeError` for
        a coroutine function, which nobody would await: `subscribe` is for those.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"{getattr(callback, '__name__', 'the callback')} is a coroutine function: use "
                "`async for message in bus.subscribe(…)` in a task of yours"
            )
        listener = Listener(cast("Callable[[str, object], object]", callback), type)
        entry = Entry((parse_pattern(pattern),), listener.taker, own)
        return self._listen(entry, listener.close)

    # Requests

    @overload
    async def request(self, topic: str, message: object, timeout: float = 1.0) -> object: ...
    @overload
    async def request(
        self, topic: str, message: object, timeout: float = 1.0, *, type: type[T]
    ) -> T: ...

    async def request(
        self, topic: str, message: object, timeout: float = 1.0, *, type: object = None
    ) -> object:
        """Ask whoever has a `reply` for ``topic``, in any process; the first answer counts.

        Raises `NoReply` after ``timeout`` seconds, `RequestFailed` with what the other end raised,
        and `WrongType` if the answer is not of ``type``.
        """
        self._attach()
        if self._asker is None:
            self._asker = Asker(self._send)
            self._add(
                Entry((own_pattern(self._asker.inbox),), by_topic(self._asker.take), own=True)
            )
        return await self._asker.ask(topic, message, timeout, type)

    def reply(
        self, pattern: str, handler: Callable[[str, T], object], *, type: type[T] | None = None
    ) -> Handle:
        """Answer requests whose topic matches: ``handler(topic, message)`` returns the answer.

        It may be a coroutine function. What it raises is logged and sent back as the answer.
        """
        answerer = Answerer(self._send, cast("Callable[[str, object], object]", handler), type)
        parse_pattern(pattern)
        entry = Entry((own_pattern(f"{REQUESTS}{pattern}"),), by_topic(answerer.take), own=True)
        return self._listen(entry, answerer.close)

    # For the library itself

    def publish_internal(self, topic: str, body: bytes) -> None:
        """Publish bytes to a topic that begins with a dot. From any thread."""
        self._send(topic.encode(), body)

    def on_internal(
        self,
        topic: str,
        callback: Callable[[bytes], None],
        lost: Callable[[int], None] | None = None,
    ) -> Handle:
        """Call ``callback(body)`` for each message of such a topic. From any thread.

        ``lost`` is called with a number of messages, 0 for an unknown one, that were lost on the
        way and may have been of this topic.
        """
        return self._listen(Entry((own_pattern(topic),), lambda _: callback, own=True, lost=lost))

    def start(self) -> None:
        """Begin to hear, in the running loop, for what was registered before there was one."""
        try:
            self._attach()
        except RuntimeError:
            if not self._is_workers:
                raise
            # An application for WSGI may listen in a thread of its own; no reason not to start.
            _log.warning(
                "messages are received in an event loop of another thread, which subscribed "
                "before the worker's own ran: callbacks are called there"
            )
            self._home.call(self._receive)

    def counters(self) -> dict[str, int]:
        """What the engine counted, and what subscriptions dropped or could not read."""
        return {**self._engine.counters(), **self._mailboxes.counters()}

    def close(self) -> None:
        """Send what is left, end all subscriptions, and give the engine up."""
        self._is_closed = True
        self._mailboxes.close()
        if self._why_over and self._asker is not None:
            self._asker.fail(self._why_over)
        self._engine.close()
        self._is_receiving = False

    def fail(self, why: str) -> None:
        """Close it because the cluster has ended: who listens is told. From any thread.

        Subscriptions end with `SubscriptionLost`, requests with `NoCluster`, and for callbacks the
        log says it.
        """
        if self._why_over or self._is_closed:
            return
        self._why_over = why
        self._mailboxes.fail(why)
        deaf = [entry.patterns[0].text for entry in self._desk if entry.is_callback]
        if deaf:
            _log.warning(
                "%s: callbacks for %s are called no more; register them with `cluster.bus` of "
                "the next one",
                why,
                ", ".join(sorted(each.removeprefix(REQUESTS) for each in deaf)),
            )
        if not self._home.call_soon(self.close):
            self.close()

    # Parts

    def _learn(self, topic: str) -> bytes:
        if len(self._topics) >= _REMEMBERED:
            self._topics.clear()
        encoded = self._topics[topic] = encode_topic(topic)
        return encoded

    def _listen(self, entry: Entry, close: Callable[[], None] | None = None) -> Handle:
        """Until the handle is cancelled, by which ``close`` is called, too."""
        # The loop of another thread does not become a worker's by a callback.
        if not self._is_workers or threading.current_thread() is threading.main_thread():
            with suppress(RuntimeError):  # before there is a loop, or in another thread
                self._attach()
        self._add(entry)

        def end() -> None:
            self._remove(entry)
            if close is not None:
                close()

        return Handle(end)

    def _attach(self) -> None:
        """Belong to the running loop, which may be another one than before.

        Raises `RuntimeError` while the one before runs: messages would come in its thread. Raises
        `NoCluster` after `close` and `fail`.
        """
        self._must_be_open()
        if self._home.enter():
            self._mailboxes.close()  # nobody takes from those of a loop that has ended
            self._is_receiving = False
        self._receive()

    def _must_be_open(self) -> None:
        if self._is_closed or self._why_over:
            why = self._why_over or "this bus was closed"
            raise NoCluster(f"{why}: look `cluster.bus` up anew")

    def _add(self, entry: Entry) -> None:
        self._must_be_open()
        self._desk.add(entry)
        self._home.call(self._receive)

    def _remove(self, entry: Entry) -> None:
        self._desk.remove(entry)
        self._home.call(self._receive)

    def _receive(self) -> None:
        """Receive while there is somebody to receive for. In the loop."""
        if self._is_closed:
            return
        wants = len(self._desk) > 0
        if wants != self._is_receiving:
            self._is_receiving = wants
            if wants:
                self._engine.start(self._desk)
            else:
                self._engine.stop_receiving()
