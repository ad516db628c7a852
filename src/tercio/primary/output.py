"""What workers wrote at last, piece by piece, for one who looks or follows."""

from collections.abc import Iterator, Sequence
from typing import Final

from tercio.core.model import WorkerId
from tercio.dataplane.tails import LastWords, Tails

_PIECE: Final = 16 * 1024
"""Characters in one message, at the most."""


class Output:
    """One reader's place in the output of some slots."""

    def __init__(self, tails: Tails) -> None:
        self._tails = tails
        self._read: dict[WorkerId, int] = {}

    def pieces(self, slots: Sequence[int]) -> Iterator[dict[str, object]]:
        """What is new since the last call, slot by slot, in the order in which it was written."""
        for slot in slots:
            if (words := self._tails.last.get(slot)) is not None:
                yield from self._of_dead(WorkerId(slot, words.incarnation), words)
            for tail in self._tails.of_slot(slot):
                who = WorkerId(slot, tail.incarnation)
                since = self._read.get(who, 0)
                piece = tail.read(since)
                if piece.end > since:
                    self._read[who] = piece.end
                    # At first all that is lost is the past: nobody was promised it.
                    yield from _messages(who, piece.text, piece.lost if since else 0)

    def _of_dead(self, who: WorkerId, words: LastWords) -> Iterator[dict[str, object]]:
        since = self._read.get(who, 0)
        left = words.end - since
        if left > 0:
            self._read[who] = words.end
            lost = max(left - len(words.text), 0)
            yield from _messages(who, words.text[-left:], lost if since else 0)


def _messages(who: WorkerId, text: bytes, lost: int) -> Iterator[dict[str, object]]:
    decoded = text.decode("utf-8", "replace")
    for start in range(0, max(len(decoded), 1), _PIECE):
        yield {
            "kind": "Output",
            "slot": who.slot,
            "worker": str(who),
            "lost": lost if start == 0 else 0,
            "text": decoded[start : start + _PIECE],
        }
