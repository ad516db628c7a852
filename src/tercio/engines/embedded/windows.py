"""Rate limits that two numbers are enough for: a fixed and a sliding window. See `moving`."""

import math
import struct
from typing import Final

from tercio.engines.embedded.records import MAIN, Kind, payload_of, store
from tercio.engines.embedded.table import Table
from tercio.state.verbs import FixedWindow, SlidingWindow, Window

_FIXED: Final = struct.Struct(">dQ")
_SLIDING: Final = struct.Struct(">dQQ")


def fixed(table: Table, verb: FixedWindow, now: float) -> Window:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    index = math.floor(now / verb.period)
    end = (index + 1) * verb.period
    hits = 0
    if (payload := payload_of(raw, verb.key, Kind.FIXED, now)) is not None:
        of, count = _FIXED.unpack(payload)
        hits = count if of == index else 0
    is_allowed = hits + verb.cost <= verb.limit
    if is_allowed and verb.cost:
        hits += verb.cost
        store(table, verb.key, Kind.FIXED, _FIXED.pack(index, hits), end, raw)
    return Window(is_allowed, hits, end - now)


def sliding(table: Table, verb: SlidingWindow, now: float) -> Window:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    index = math.floor(now / verb.period)
    previous = current = 0
    if (payload := payload_of(raw, verb.key, Kind.SLIDING, now)) is not None:
        of, before, count = _SLIDING.unpack(payload)
        if of == index:
            previous, current = before, count
        elif of == index - 1:
            previous = count
    passed = now - index * verb.period
    estimate = previous * (1.0 - passed / verb.period) + current
    is_allowed = estimate + verb.cost <= verb.limit
    if is_allowed and verb.cost:
        estimate += verb.cost
        body = _SLIDING.pack(index, previous, current + verb.cost)
        # Its hits count until the end of the next window.
        store(table, verb.key, Kind.SLIDING, body, (index + 2) * verb.period, raw)
    return Window(is_allowed, math.ceil(estimate), (index + 1) * verb.period - now)
