"""Count wrong tokens by peer, and say who must wait. It does not look at forwarded addresses."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

ALLOWED: Final = 10
"""Wrong tokens in a row; then one more each `REFILL` seconds."""
REFILL: Final = 6.0

_MOST: Final = 1024  # peers; of more, those that failed longest ago start anew


class Failures:
    """A bucket of tries for each peer that has failed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, peer: str) -> float:
        """Seconds until this peer may try again; 0 for now."""
        return max(0.0, (self._level(peer) - ALLOWED + 1) * REFILL)

    def count(self, peer: str) -> None:
        """It gave a wrong token."""
        peer = network_of(peer)
        self._used[peer] = (self._level(peer) + 1, self._clock())
        self._used.move_to_end(peer)
        if len(self._used) > _MOST:
            self._used.popitem(last=False)

    def _level(self, peer: str) -> float:
        used, since = self._used.get(network_of(peer), (0.0, 0.0))
        return max(0.0, used - (self._clock() - since) / REFILL)


def network_of(peer: str) -> str:
    """An address; for IPv6 its /64, of which one client has all."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
