"""Cut the bytes of a client into messages and control frames, and frame what goes back (RFC 6455).

    between messages --first frame without FIN--> in a message --frame with FIN--> between messages

Control frames may come anywhere. Pure: bytes in, messages out.

The sans-I/O protocol of `websockets` decides the handshake, but not this: it runs a generator and
makes two objects for each frame, which is two thirds of what a small echo costs.
"""

from codecs import IncrementalDecoder, getincrementaldecoder
from typing import Final

from tercio.http.deflate import Corrupt, Deflate, TooLarge

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets was built without a C compiler
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
COMPRESSED: Final = 0x40
"""RSV1 of a message's first frame."""

_RESERVED: Final = 0x70
_MASKED: Final = 0x80
LONGEST_CONTROL: Final = 125

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
"""Of a close frame without one; never sent."""
ABNORMAL: Final = 1006
"""Of a connection that ended without a close frame; never sent."""
INVALID_TEXT: Final = 1007
TOO_LARGE: Final = 1009
INTERNAL_ERROR: Final = 1011

_REGISTERED: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
_SLACK: Final = 64

_utf8_decoder = getincrementaldecoder("utf-8")


class Violation(Exception):
    """The client breaks the protocol: the WebSocket is to be failed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """What comes from one client. `feed` what came, then `read` until there is nothing."""

    __slots__ = (
        "_at",
        "_buffer",
        "_deflate",
        "_is_compressed",
        "_max_size",
        "_message",
        "_need",
        "_opcode",
        "_text",
    )

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._deflate: Deflate | None = None
        self._buffer: bytes | bytearray = b""
        self._at = 0  # where in the buffer the next frame begins
        self._need = 2  # bytes of it without which there is nothing to read
        self._message: bytearray | None = None  # of several frames
        self._opcode = BINARY  # of that message
        self._is_compressed = False
        self._text: IncrementalDecoder | None = None  # of a whole text nothing stays in it

    def agree(self, deflate: Deflate | None) -> None:
        """The handshake is over."""
        self._deflate = deflate

    @property
    def left(self) -> int:
        """Bytes that were fed and not read."""
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        if not self._buffer:
            self._buffer = data  # almost always: whole frames came before
            return
        if not isinstance(self._buffer, bytearray):
            # A frame in parts. To add to a bytearray is cheap, however often.
            self._buffer = bytearray(memoryview(self._buffer)[self._at :])
        else:
            del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def drop(self) -> None:
        """Forget all that came: nothing of it counts any more."""
        self._buffer = b""
        self._at = 0
        self._need = 2
        self._message = None

    def read(self) -> tuple[int, bytes] | None:
        """The opcode and content of the next message or control frame. Raises `Violation`.

        A part of a message comes as a continuation with what it grew to. It is taken care of, and
        tells how much there was to do.
        """
        while True:
            buffer = self._buffer
            at = self._at
            left = len(buffer) - at
            if left < self._need:
                if not left:
                    # Don't hold on to 256 KiB until the client speaks again.
                    self._buffer = b""
                    self._at = 0
                return None
            first = buffer[at]
            second = buffer[at + 1]
            # Text or binary in one frame, uncompressed, while no message is under way: nothing to
            # look at. Everything else is checked with care.
            if (first != 0x81 and first != 0x82) or self._message is not None:
                self._check(first, second)
            length = second & 0x7F
            if not second & _MASKED:
                raise Violation(PROTOCOL_ERROR, "a client's frames are masked")
            if length < 126:
                start = at + 6
            elif length == 126:
                if left < 4:
                    self._need = 4
                    return None
                length = buffer[at + 2] << 8 | buffer[at + 3]
                start = at + 8
            else:
                if left < 10:
                    self._need = 10
                    return None
                length = int.from_bytes(buffer[at + 2 : at + 10])
                start = at + 14
            if length > self._max_size:
                self._check_size(length, first)
            end = start + length
            if len(buffer) < end:
                self._need = end - at
                return None
            self._need = 2
            self._at = end
            content = apply_mask(buffer[start:end], buffer[start - 4 : start])
            if first == 0x81 or first == 0x82 or first & 0x08:
                return first & 0x0F, content
            return self._add(first, content)

    def _check(self, first: int, second: int) -> None:
        """Look at the first two bytes of a frame that isn't a whole message."""
        opcode = first & 0x0F
        if opcode > BINARY:
            if not CLOSE <= opcode <= PONG:
                raise Violation(PROTOCOL_ERROR, f"there is no opcode {opcode}")
            if first & _RESERVED:
                raise Violation(PROTOCOL_ERROR, "reserved bits are set")
            if not first & FIN:
                raise Violation(PROTOCOL_ERROR, "a control frame is in fragments")
            if second & 0x7F > LONGEST_CONTROL:
                raise Violation(PROTOCOL_ERROR, "a control frame is too long")
            return
        reserved = first & _RESERVED
        if reserved and (reserved != COMPRESSED or not opcode or self._deflate is None):
            raise Violation(PROTOCOL_ERROR, "reserved bits are set")
        if opcode == CONTINUATION:
            if self._message is None:
                raise Violation(PROTOCOL_ERROR, "there is no message to continue")
        elif self._message is not None:
            raise Violation(PROTOCOL_ERROR, "the message before is not complete")

    def _check_size(self, length: int, first: int) -> None:
        # What cannot be compressed grows by a little.
        if first & COMPRESSED or (not first & 0x0F and self._is_compressed):
            length -= (length >> 6) + _SLACK
        if length > self._max_size:
            raise self._too_large()

    def _too_large(self) -> Violation:
        return Violation(TOO_LARGE, f"a message has more than {self._max_size} bytes")

    def _add(self, first: int, content: bytes) -> tuple[int, bytes]:
        """Take a frame of a compressed message, or of one in several frames."""
        is_last = bool(first & FIN)
        opcode = first & 0x0F
        if opcode:
            self._opcode = opcode
            self._is_compressed = bool(first & COMPRESSED)
        before = self._message
        room = self._max_size - (len(before) if before is not None else 0)
        if self._is_compressed:
            assert self._deflate is not None
            try:
                content = self._deflate.inflate(content, room, is_last=is_last)
            except Corrupt as error:
                raise Violation(PROTOCOL_ERROR, "a message cannot be expanded") from error
            except TooLarge as error:
                raise self._too_large() from error
        if len(content) > room:
            raise self._too_large()
        if before is None:
            if is_last:
                return opcode, content
            before = self._message = bytearray()
        if self._opcode == TEXT:
            self._check_text(content)
        # Joined at once: a list of a million fragments of a byte each would be 40 times as large.
        before += content
        if not is_last:
            return CONTINUATION, content
        self._message = None
        return self._opcode, bytes(before)

    def _check_text(self, content: bytes) -> None:
        """Fail with the fragment that breaks a text, not with the last one.

        Whether it may end where it ends is seen when the message is read as a whole.
        """
        if self._text is None:
            self._text = _utf8_decoder()
        try:
            self._text.decode(content)
        except UnicodeDecodeError as error:
            raise Violation(INVALID_TEXT, "a text is not UTF-8") from error


def is_sendable(code: int) -> bool:
    """Whether a close code may go over the wire."""
    return code in _REGISTERED or 3000 <= code < 5000


def text(content: bytes) -> str:
    """What a text says. Raises `Violation`."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Violation(INVALID_TEXT, "a text is not UTF-8") from error


def read_close(content: bytes) -> tuple[int, str]:
    """Code and reason of a close frame. Raises `Violation`."""
    if not content:
        return NO_CODE, ""
    code = int.from_bytes(content[:2])
    try:
        reason = content[2:].decode()
    except UnicodeDecodeError as error:
        raise Violation(INVALID_TEXT, "a reason is not UTF-8") from error
    if len(content) == 1 or not is_sendable(code):
        raise Violation(PROTOCOL_ERROR, "there is no such close code")
    return code, reason


def close_frame(code: int, reason: str) -> bytes:
    """Raises RuntimeError for what must not go over the wire."""
    if code == NO_CODE and not reason:
        return frame(FIN | CLOSE, b"")
    if not is_sendable(code):
        raise RuntimeError(f"{code!r} is no close code that may be sent")
    content = code.to_bytes(2) + reason.encode()
    if len(content) > LONGEST_CONTROL:
        raise RuntimeError(f"a close reason has {LONGEST_CONTROL - 2} bytes at the most")
    return frame(FIN | CLOSE, content)


def frame(first: int, content: bytes) -> bytes:
    """One frame, as a server sends it; ``first`` is its first byte."""
    # One bytes object and so one write: two of them would be two packets or a call more.
    length = len(content)
    if length < 126:
        return bytes((first, length)) + content
    if length < 65536:
        return bytes((first, 126, length >> 8, length & 0xFF)) + content
    return bytes((first, 127)) + length.to_bytes(8) + content
