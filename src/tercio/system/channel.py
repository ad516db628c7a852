"""Exchange small JSON messages, one a line, with the process at the other end of a socket.

Nothing here ever waits: what the peer does not take is queued up to a bound. Any thread may
send (a watchdog must report while the event loop is blocked); one thread receives. What the
messages mean is not known here, apart from two kinds that may be dropped.
"""

import errno
import json
import socket
import threading
from collections import deque
from collections.abc import Mapping

from tercio.errors import ChannelClosed, ProtocolError, TercioError

MAX_LINE = 96 * 1024  # bytes, with the newline; 64 KiB of somebody's are 86 in base64
MAX_QUEUED = 256  # messages
DROPPABLE = frozenset({"note", "blocked"})

_READS = 4  # of MAX_LINE bytes a call: a peer that floods us must not hold the loop
_LATER = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
_NO_SIGPIPE = getattr(socket, "MSG_NOSIGNAL", 0)  # application code may have un-ignored it


class ChannelFull(TercioError):
    """The process at the other end takes no messages; one was not sent."""


class Channel:
    """One end of a stream socket pair.

    `dropped` counts messages that were not queued. `closed` turns True when the peer is gone;
    what it sent before can still be received, so after its death call `receive` until it
    returns nothing.
    """

    __slots__ = ("_buffer", "_closed", "_lock", "_queue", "_socket", "dropped")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._lock = threading.Lock()  # holds nothing up: no call below it waits
        self._queue: deque[memoryview] = deque()
        self._buffer = b""
        self._closed = False
        self.dropped = 0

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def pending(self) -> int:
        """How many messages wait; while any does, call `flush` when the socket is writable."""
        return len(self._queue)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Mapping[str, object]) -> None:
        """Queue a message, and pass on what the peer takes at once.

        When the queue is full the newest goes, counted: silently if it is a note, else with
        ChannelFull. Raises ChannelClosed once the peer is gone, ProtocolError if it is too long.
        """
        line = memoryview(_encode(message))
        with self._lock:
            self._write()
            if self._closed:
                raise ChannelClosed("the process at the other end of the channel is gone")
            if len(self._queue) >= MAX_QUEUED:
                self.dropped += 1
                if message.get("type") in DROPPABLE:
                    return
                raise ChannelFull(
                    f"{MAX_QUEUED} messages wait for a process that does not read its channel"
                )
            self._queue.append(line)
            self._write()
            if self._closed:
                raise ChannelClosed("the process at the other end of the channel is gone")

    def flush(self) -> bool:
        """Pass on what the peer takes now; True if nothing is left to send."""
        with self._lock:
            self._write()
            return not self._queue

    def receive(self) -> list[dict[str, object]]:
        """The messages that are there, some hundred KiB at most; nothing is no error.

        Raises ProtocolError for anything else than our protocol. The peer is then not to be
        trusted: the messages read along with the bad line are gone, and so should be the channel.
        """
        messages = []
        for _ in range(_READS):
            chunk = self._read()
            if not chunk:
                break
            *lines, self._buffer = (self._buffer + chunk).split(b"\n")
            messages += [_decode(line) for line in lines]
            if len(self._buffer) >= MAX_LINE:
                raise ProtocolError(f"a message is longer than {MAX_LINE} bytes")
        return messages

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._queue.clear()
            self._socket.close()

    def _read(self) -> bytes:
        if self._socket.fileno() < 0:
            return b""
        try:
            chunk = self._socket.recv(MAX_LINE)
        except BlockingIOError:
            return b""
        except ConnectionError:  # the peer ended without reading all that we sent
            chunk = b""
        if not chunk:
            self._closed = True
        return chunk

    def _write(self) -> None:
        while self._queue and not self._closed:
            line = self._queue[0]
            try:
                sent = self._socket.send(line, _NO_SIGPIPE)
            except OSError as error:
                if error.errno not in _LATER:
                    self._closed = True  # EPIPE, ECONNRESET
                    self._queue.clear()
                return
            if sent < len(line):
                self._queue[0] = line[sent:]  # the rest stays first: lines arrive whole
            else:
                self._queue.popleft()


def _encode(message: Mapping[str, object]) -> bytes:
    # surrogatepass: file names that are no UTF-8 reach us as lone surrogates.
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    line = text.encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > MAX_LINE:
        kind = message.get("type")
        raise ProtocolError(f"a message of type {kind!r} is longer than {MAX_LINE} bytes")
    return line


def _decode(line: bytes) -> dict[str, object]:
    if len(line) >= MAX_LINE:
        raise ProtocolError(f"a message is longer than {MAX_LINE} bytes")
    try:
        message = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:  # recursion: 60,000 opening brackets
        raise ProtocolError(f"a message is not JSON: {error} in {line[:80]!r}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"a message is not a JSON object: {line[:80]!r}")
    return message
