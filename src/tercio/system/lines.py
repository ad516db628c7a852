"""Write whole lines to a descriptor that others share, and never wait for its reader.

What cannot be written at once is kept up to a limit; beyond it lines are dropped and counted, and
when the reader is back one line says how many are missing. O_NONBLOCK is never set on a description
that other processes use: their writes would start to fail. A pipe or terminal is opened again
instead, which gives a description of our own; a socket is asked call by call; where neither is
possible a thread does the waiting.
"""

import os
import re
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from tercio.system import ways

LINE_BYTES = max(select.PIPE_BUF, 4096)
"""The longest line, with its end. A pipe takes this many bytes as a whole or not at all (Linux)."""

_POLL = 1.0  # seconds between two looks at whether the writer was closed while its reader is stuck
_NO_PROGRESS = 0.02  # seconds; a terminal may claim to have room for less than it needs

# Everything a terminal, or whoever splits this text into lines, could obey: C0 without the tab,
# DEL, C1, Unicode's line ends, and the marks that change the direction of text.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_HALF_COLOUR = re.compile(rb"\x1b[^m]*\Z")
_NAMED = {"\n": "\\n", "\r": "\\r"}

_END = 10  # a line's
_CUT_NOTE_BYTES = 40  # room for "... (N bytes cut)"


def escape(text: str) -> str:
    """Make control characters visible: the result is one line, and no terminal obeys it."""
    return _UNSAFE.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


class LineWriter:
    """Whole lines to one descriptor, from any thread.

    Each line that was given to `write` is written, in `pending`, or counted in `dropped`.
    The descriptor stays the caller's, unless it ``is_own``: then it is taken over, and O_NONBLOCK
    is set on it or it is a regular file. Closing it does not end this writer.
    """

    def __init__(
        self,
        fd: int,
        limit: int = 1000,
        *,
        keep: Callable[[bytes], None] | None = None,
        is_own: bool = False,
    ) -> None:
        self.keep = keep
        """Gets all lines, also those that nobody reads."""
        self.lines: list[str] = []
        """Lines that `push` will write, or whatever writes or flushes before.

        For one thread to append to, without a call: each ends with its only line end, is harmless
        already, and has no more than `LINE_BYTES`.
        """
        self._limit = limit
        self._backlog: deque[tuple[bytes, int]] = deque()  # a line; how many losses it reports
        self._dropped = 0
        self._unreported = 0  # dropped since the last notice was put into the backlog
        self._torn = False  # the last byte written was not the end of a line
        self._draining = False
        self._closed = False
        # Reentrant: a signal handler may log while its own thread is inside.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._fd, self._put, self._close, self._waits = (
            ways.plain(fd, waits=False) if is_own else ways.to(fd)
        )
        _writers.add(self)

    @property
    def dropped(self) -> int:
        """How many lines were lost since the start."""
        return self._dropped

    @property
    def pending(self) -> int:
        """How many lines wait for the reader."""
        with self._changed:
            return len(self.lines) + sum(1 for _, losses in self._backlog if not losses)

    def fileno(self) -> int:
        """Our own descriptor; -1 if there was none."""
        return self._fd

    @property
    def is_terminal(self) -> bool:
        """Whether somebody may be looking, so that colours make sense."""
        return self._fd >= 0 and os.isatty(self._fd)

    def write(self, text: str, *, escaped: bool = False) -> None:
        r"""Write ``text``: one line, or several divided by "\n"; never waits and never raises.

        ``escaped`` says that the caller has made foreign text harmless with `escape` already, and
        that what control characters there are (colours) are its own.
        """
        with self._changed:
            self._take_lines()
            for line in text.removesuffix("\n").split("\n"):
                data = _encoded(line if escaped else escape(line))
                if self.keep is not None:
                    self.keep(data)
                self._add(data)
            self.push()

    def push(self) -> None:
        """Write `lines`; never waits and never raises."""
        with self._lock:
            self._take_lines()
            if not self._waits:
                self._drain()
            if self._backlog:
                self._call_thread()

    def flush(self, timeout: float = 0.0) -> bool:
        """Write what is pending, waiting for the reader up to ``timeout`` seconds; True if all."""
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                self._take_lines()
                if not self._waits:
                    self._drain()
                if not self._backlog:
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                if self._waits:
                    self._changed.wait(left)
                    continue
            self._await_room(left)

    def replace(self, fd: int) -> None:
        """Go on in another file, of a writer whose descriptor ``is_own``; ``fd`` is taken over.

        A line that was begun is ended in the old one, or counted as dropped.
        """
        with self._changed:
            assert not self._waits
            self._take_lines()
            self._drain()
            if self._torn and self._backlog:
                _, losses = self._backlog.popleft()
                self._dropped += 0 if losses else 1
                self._unreported += losses or 1
            self._torn = False
            self._close_fd()
            self._fd, self._put, self._close, self._waits = ways.plain(fd, waits=False)
            self.push()

    def close(self) -> None:
        """Give up what is pending, counted as dropped. Later lines are dropped too."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._take_lines()
            self._lose_all()
            self._changed.notify_all()
            if self._thread is None:
                self._close_fd()  # else the thread does: it may be about to write

    def _take_lines(self) -> None:
        """Write `lines`, or take them over."""
        number = len(self.lines)
        if not number:
            return
        data = "".join(self.lines[:number]).encode("utf-8", "backslashreplace")
        del self.lines[:number]  # nobody but us; what is appended meanwhile stays
        if self.keep is not None:
            self.keep(data)
        is_direct = not (self._backlog or self._unreported or self._draining or self._waits)
        written = self._put_lines(data) if is_direct and self._fd >= 0 else 0
        lines = data[written:].splitlines(keepends=True)
        if self._torn and is_direct and lines:
            # Before whatever a signal handler has put there: the rest of a line is its beginning.
            self._backlog.appendleft((lines.pop(0), 0))
        for line in lines:
            self._add(line)

    def _put_lines(self, data: bytes) -> int:
        """Write whole lines without the backlog, which takes a microsecond a line; how much went.

        As many at a time as a pipe takes at once.
        """
        done = 0
        self._draining = True
        try:
            while done < len(data):
                end = min(done + LINE_BYTES, len(data))
                if end < len(data):
                    end = data.rfind(b"\n", done, end) + 1
                written = self._put(data[done:end])
                done += written
                if not written:
                    break
        except BlockingIOError:
            pass
        except OSError:
            lost = data.count(b"\n", done)
            self._dropped += lost
            self._unreported += lost
            self._torn = bool(done) and data[done - 1] != _END
            return len(data)
        finally:
            self._draining = False
        if done:
            self._torn = data[done - 1] != _END
        return done

    def _add(self, line: bytes) -> None:
        if len(self._backlog) >= self._limit and not self._waits:
            self._drain()
        if len(self._backlog) >= self._limit or self._closed or self._fd < 0:
            self._dropped += 1
            self._unreported += 1
            return
        if self._unreported:
            self._add_notice()
        self._backlog.append((line, 0))

    def _add_notice(self) -> None:
        lost, self._unreported = self._unreported, 0
        # Where the rest of a line was lost, its beginning is ended first.
        start = "\n" if self._torn and not self._backlog else ""
        text = f"{start}{lost} log line{'s' if lost != 1 else ''} dropped\n"
        self._backlog.append((text.encode(), lost))

    def _drain(self) -> bool:
        """Write until all is written or the reader must catch up; say whether anything went."""
        if self._draining or self._fd < 0:
            return False  # a signal handler logs in the middle of this: the outer call goes on
        self._draining = True
        moved = False
        try:
            while self._backlog or (self._unreported and not self._closed):
                if not self._backlog:
                    self._add_notice()
                try:
                    written = self._put(self._batch())
                except BlockingIOError:
                    break
                except OSError:
                    self._lose_all()  # EPIPE, EIO: the reader is gone; ENOSPC: the disk is full
                    break
                if not written:
                    break
                moved = True
                self._settle(written)
        finally:
            self._draining = False
        return moved

    def _batch(self) -> bytes:
        """Return the first lines: as many as a pipe takes at once."""
        lines = [self._backlog[0][0]]
        size = len(lines[0])
        # By index: a signal handler may append, which would break an iterator.
        for index in range(1, len(self._backlog)):
            line = self._backlog[index][0]
            size += len(line)
            if size > LINE_BYTES:
                break
            lines.append(line)
        return b"".join(lines)

    def _settle(self, written: int) -> None:
        """Take what was written off the backlog; the rest of a line stays its first entry."""
        while written:
            line, losses = self._backlog.popleft()
            if written < len(line):
                self._backlog.appendleft((line[written:], losses))
                self._torn = True
                return
            written -= len(line)
            self._torn = False

    def _lose_all(self) -> None:
        for _, losses in self._backlog:
            # A notice that never arrived counts its lines as unreported again, not as lost twice.
            self._dropped += 0 if losses else 1
            self._unreported += losses or 1
        self._backlog.clear()

    def _call_thread(self) -> None:
        """See to it that the backlog is written even if no other line ever comes."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="tercio-lines", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None  # the interpreter ends: what `flush` writes is what is left
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._backlog and not self._closed:
                    self._changed.wait()
                if self._closed:
                    self._close_fd()
                    return
                batch = self._batch() if self._waits else b""
            if self._waits:
                self._put_waiting(batch)
            else:
                self._await_room(_POLL)

    def _put_waiting(self, batch: bytes) -> None:
        """Write outside of the lock, however long it takes. Only this thread shortens the backlog
        of such a descriptor, so the batch is still its beginning afterwards."""
        try:
            written = self._put(batch)
        except BlockingIOError:
            self._await_room(_POLL)  # another process has set O_NONBLOCK
            return
        except OSError:
            written = -1
        with self._changed:
            if self._closed:
                return
            if written < 0:
                self._lose_all()
            else:
                self._settle(written)
                if not self._backlog and self._unreported:
                    self._add_notice()
            self._changed.notify_all()

    def _await_room(self, timeout: float) -> None:
        """Wait until the descriptor has room, and use it."""
        fd = self._fd
        if fd < 0:
            return
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if not poll.poll(timeout * 1000) or self._waits:
            return
        with self._changed:
            moved = self._drain()
        if not moved:
            time.sleep(min(_NO_PROGRESS, timeout))

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                self._close()

    def _after_fork(self) -> None:
        # The lock may be held by a thread that is not here, and the parent writes the backlog.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread = None
        self._draining = False
        self._backlog.clear()
        self.lines.clear()
        self._dropped = self._unreported = 0


def _encoded(line: str) -> bytes:
    """Return the bytes of one line with its end, cut where it is too long."""
    data = line.encode("utf-8", "backslashreplace") + b"\n"
    if len(data) <= LINE_BYTES:
        return data
    # A cut line must not leave its colour to the lines below.
    end = b"\x1b[0m\n" if b"\x1b[" in data else b"\n"
    room = LINE_BYTES - _CUT_NOTE_BYTES - len(end)
    kept = _HALF_COLOUR.sub(b"", data[:room].decode("utf-8", "ignore").encode())
    return kept + f"... ({len(data) - 1 - len(kept)} bytes cut)".encode() + end


_writers: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for writer in _writers:
        writer._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
