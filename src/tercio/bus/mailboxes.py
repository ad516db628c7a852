"""All mailboxes of a process, and what those had counted that are no more."""

from tercio.bus.mailbox import Mailbox


class Mailboxes:
    """Those of subscriptions that have not ended."""

    def __init__(self) -> None:
        self._open: set[Mailbox] = set()
        self._dropped = self._invalid = 0

    def add(self, mailbox: Mailbox) -> None:
        """A subscription has begun."""
        self._open.add(mailbox)

    def forget(self, mailbox: Mailbox) -> None:
        """It has ended."""
        self._open.discard(mailbox)
        self._dropped += mailbox.dropped
        self._invalid += mailbox.invalid

    def close(self) -> None:
        """End all."""
        for mailbox in list(self._open):
            mailbox.close()

    def fail(self, why: str) -> None:
        """Let their end, which is near, be one by `SubscriptionLost`. From any thread."""
        for mailbox in list(self._open):
            mailbox.fail(why)

    def counters(self) -> dict[str, int]:
        """How many there are, and what they have dropped or could not read."""
        return {
            "subscriptions": len(self._open),
            "dropped": self._dropped + sum(each.dropped for each in self._open),
            "invalid": self._invalid + sum(each.invalid for each in self._open),
        }
