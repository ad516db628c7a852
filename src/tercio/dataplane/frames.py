"""The bytes in a ring: batches of runs.

A batch: where it begins, the number of its first message, its length without this header, how
many messages, and their crc32 (0 where it is not used); then runs. A run: how many messages, length
of the topic, flags, topic, the length of each body, the bodies. So messages of one topic that
follow each other cost a reader one look at the topic. Native byte order: all readers are on this
machine.
"""

import struct
from typing import Final

HEADER: Final = struct.Struct("=QQIII")
RUN: Final = struct.Struct("=IBB")
SIZE: Final = struct.Struct("=I")
PARCEL: Final = struct.Struct("=QQI")
"""A body in a run with the flag `IS_PARCEL`: position, size, crc32 (0 where not used)."""

NOT_OWN: Final = 1
IS_PARCEL: Final = 2

TOPIC_LIMIT: Final = 255

BATCH_BYTES: Final = 32 << 10
"""A batch grows no further; a longer run has one for itself."""

LARGEST: Final = 60 << 10
"""Bytes of the largest run. What is larger goes as a parcel: a burst would lap all readers."""

LEAST_CAPACITY: Final = 128 << 10
