"""The worker's end of the channel: any thread may send, and one thread does nothing but listen.

That thread is not the event loop on purpose. "Show me your stacks" and "leave" must be heard while
the loop is blocked or the application is still being imported, and the loop hears orders through
``call_soon_threadsafe`` just as well. A primary that is gone is the life-line's affair.
"""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Final

from tercio.errors import ChannelClosed, ProtocolError
from tercio.redaction import redacted
from tercio.system import signals
from tercio.system.channel import Channel, ChannelFull
from tercio.worker.clipping import fitting

_log = logging.getLogger("tercio.worker")

_WAKE: Final = 0  # in the pipe: there is something to flush; any other byte is a signal's number


class Link:
    """Speaks with the primary."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wake_end, self._signal_end = os.pipe()
        os.set_blocking(self._wake_end, False)
        os.set_blocking(self._signal_end, False)

    def listen(self, deliver: Callable[[dict[str, object]], None]) -> None:
        """Start the thread; it calls ``deliver`` for each message of the primary."""
        threading.Thread(target=self._run, args=(deliver,), name="tercio-link", daemon=True).start()

    def send(self, message: Mapping[str, object]) -> None:
        """Queue a message; never waits, never raises for a primary that is gone or stuck."""
        # Tracebacks and stacks, most of all.
        message = {key: redacted(value) for key, value in message.items()}
        try:
            try:
                self._channel.send(message)
            except ProtocolError:
                # Too long. Whoever made it clips what can grow; this is for what nobody thought of.
                self._channel.send(fitting(message))
        except ChannelClosed:
            return  # the life-line ends this process
        except ChannelFull as error:
            _log.error("%s: %s was not sent", error, message.get("type"))
        if self._channel.pending:
            self._write(_WAKE)

    def note(self, level: str, text: str) -> None:
        """A line for the cluster's events."""
        self.send({"type": "note", "level": level, "text": text})

    def flush(self, limit: float) -> None:
        """Before the end: wait until all is sent, ``limit`` seconds at the most."""
        deadline = time.monotonic() + limit
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLOUT)
        while not self._channel.flush() and not self._channel.closed:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poll.poll(remaining * 1000):
                return

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """A signal handler. It writes a byte: `send` takes a lock that its thread may hold."""
        self._write(number)

    def fds(self) -> list[int]:
        """Descriptors that a fork by application code must not keep."""
        return [self._channel.fileno(), self._wake_end, self._signal_end]

    def _run(self, deliver: Callable[[dict[str, object]], None]) -> None:
        try:
            self._hear(deliver)
        except OSError as error:  # closed under us, by code that closes what it does not know
            _log.error("the primary cannot be heard any more: %s", error.strerror)

    def _hear(self, deliver: Callable[[dict[str, object]], None]) -> None:
        poll = select.poll()
        poll.register(self._wake_end, select.POLLIN)
        while not self._channel.closed:
            events = select.POLLIN | (select.POLLOUT if self._channel.pending else 0)
            poll.register(self._channel.fileno(), events)
            poll.poll()
            self._take_wakes()
            self._channel.flush()
            try:
                messages = self._channel.receive()
            except ProtocolError as error:
                _log.error("the primary cannot be understood, and is not listened to: %s", error)
                return
            for message in messages:
                try:
                    deliver(message)
                except Exception:
                    # This thread is the only one that hears the primary: it goes on.
                    _log.exception("a message of the primary failed: %r", message)

    def _take_wakes(self) -> None:
        with suppress(BlockingIOError):
            for number in os.read(self._wake_end, 512):
                if number == signal.SIGTERM:
                    self.send({"type": "replace", "signal": signals.name(number)})

    def _write(self, byte: int) -> None:
        with suppress(BlockingIOError):  # full: the thread is awake as it is
            os.write(self._signal_end, bytes((byte,)))
