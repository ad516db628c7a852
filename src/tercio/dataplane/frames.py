"""The bytes in a ring: batches of frames.

A batch: where it begins, the number of its first message, its length without this header, how
many frames, and their crc32 (0 where it is not used). A frame: length of the body, length of the
topic, flags, topic, body. Native byte order: all readers are on this machine.
"""

import struct
from typing import Final

HEADER: Final = struct.Struct("=QQIII")
FRAME: Final = struct.Struct("=IBB")
PARCEL: Final = struct.Struct("=QQI")
"""The body of a frame with the flag `IS_PARCEL`: position, size, crc32 (0 where not used)."""

NOT_OWN: Final = 1
IS_PARCEL: Final = 2

TOPIC_LIMIT: Final = 255

BATCH_BYTES: Final = 32 << 10
"""A batch grows no further; a longer frame has one for itself."""

LARGEST: Final = 60 << 10
"""Bytes of the largest frame. What is larger goes as a parcel: a burst would lap all readers."""

LEAST_CAPACITY: Final = 128 << 10
