"""Say in time that the certificate which workers show is about to end. Reads no file of it."""

from datetime import UTC, datetime
from typing import Final

from tercio.core.events import CertificateExpires
from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.primary.journal import Journal

_DAY: Final = 86_400.0
_AHEAD: Final = 14 * _DAY
"""Let's Encrypt's clients renew 30 days before the end: at 14 something does not work."""


class Expiry:
    """Looks at what workers say of the certificate that they serve."""

    def __init__(self, scoreboard: Scoreboard, journal: Journal) -> None:
        self._scoreboard = scoreboard
        self._journal = journal
        self._told = 0  # of this certificate
        self._next = 0.0

    def look(self, now: float) -> None:
        """Publish an event if it is time to; ``now`` is Unix time."""
        # Workers that drain show an old one, and nobody new.
        ends = [row[Field.TLS_EXPIRES] for row in self._scoreboard if row[Field.SLOT]]
        expires = max(ends, default=0)
        if not expires or expires - now > _AHEAD:
            return
        if expires == self._told and now < self._next:
            return
        self._told = expires
        left = expires - now
        # Once more at the end itself, if that comes before a day has passed.
        self._next = now + (min(_DAY, left) if left > 0 else _DAY)
        at = datetime.fromtimestamp(expires, UTC)
        self._journal.publish(CertificateExpires(f"{at:%Y-%m-%d %H:%M} UTC", left / _DAY))
