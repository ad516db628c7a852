"""The end of a certificate is told in time, and not all the time."""

from tercio.core.events import CertificateExpires
from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.primary.expiry import Expiry
from tercio.primary.journal import Entry, Journal

DAY = 86_400.0
NOW = 1_800_000_000.0


class Watch:
    """Two workers, and what was said of their certificate."""

    def __init__(self) -> None:
        self.scoreboard = Scoreboard.create(4)
        self.told: list[float] = []
        journal = Journal()
        journal.subscribe(self._hear)
        self.expiry = Expiry(self.scoreboard, journal)

    def show(self, *days: float) -> None:
        """Each worker shows a certificate that ends in so many days from NOW."""
        for seat, left in enumerate(days):
            self.scoreboard.row(seat)[Field.SLOT] = seat + 1
            self.scoreboard.row(seat)[Field.TLS_EXPIRES] = int(NOW + left * DAY)

    def look(self, day: float) -> None:
        self.expiry.look(NOW + day * DAY)

    def _hear(self, entry: Entry) -> None:
        if isinstance(entry.event, CertificateExpires):
            self.told.append(entry.event.days)


def test_nothing_is_said_without_tls_or_long_before_the_end() -> None:
    watch = Watch()
    watch.look(0)
    watch.show(90, 90)
    watch.look(0)
    watch.look(75.9)
    assert watch.told == []


def test_it_is_said_14_days_before_and_once_a_day_from_then_on() -> None:
    watch = Watch()
    watch.show(14, 14)
    for tenth in range(31):
        watch.look(tenth / 10)
    assert watch.told == [14.0, 13.0, 12.0, 11.0]


def test_it_is_said_at_the_end_itself() -> None:
    watch = Watch()
    watch.show(1.5, 1.5)
    for hour in range(48):
        watch.look(hour / 24)
    assert watch.told == [1.5, 0.5, 0.0]


def test_a_new_certificate_ends_it_though_a_worker_still_drains_with_the_old_one() -> None:
    watch = Watch()
    watch.show(5, 5)
    watch.look(0)
    watch.show(5, 90)  # the first one still drains
    watch.look(1.1)
    watch.look(2.2)
    assert watch.told == [5.0]
