"""What must hold for any bytes that a client sends, and one trial of it."""

import random
from collections.abc import Iterable
from typing import Final

from tests.http.answers import Answer, final
from tests.http.others import Parsed, by_h11, by_llhttp
from tests.http.place import Place
from tests.http.recording import Seen
from tests.http.streams import cut, spoiled
from tests.http.wire import Reset

REFUSALS: Final = frozenset({400, 414, 417, 426, 431, 501})


class Broken(AssertionError):
    """Something that must hold did not."""


def play(server: Place, data: bytes, pieces: Iterable[bytes]) -> None:
    """Send the pieces of ``data``, then nothing more, and check all that came of it."""
    try:
        received, seen = server.exchange(pieces, finish=True)
    except Reset as reset:
        # Behind the answer to a last request nobody listens: a client that goes on gets a reset,
        # before or after it has read that answer.
        received, seen = reset.received, server.recorder.seen
        if not (seen and seen[-1].is_last) and not _ends(received, seen):
            raise
    else:
        check_answers(final(received, [each.method for each in seen if each.is_whole]), seen)
    check_readings(data, seen)


def _ends(received: bytes, seen: list[Seen]) -> bool:
    """Whether the last answer said that it is the last."""
    found = final(received, [each.method for each in seen if each.is_whole])
    return bool(found) and found[-1].closes


def check_answers(answers: list[Answer], seen: list[Seen]) -> None:
    """Every whole request has its answer, in order, and at most one refusal follows them."""
    whole = [each for each in seen if each.is_whole]
    if [each.is_whole for each in seen] != [True] * len(whole) + [False] * (len(seen) - len(whole)):
        raise Broken("a request was served after one that never came to its end")
    if len(seen) > len(whole) + 1:
        raise Broken("two requests never came to their ends")
    if len(answers) > len(whole) + 1:
        raise Broken(f"{len(answers)} answers to {len(whole)} requests")
    for answer, request in zip(answers, whole, strict=False):
        if answer.status != 200:
            raise Broken(f"{request} was answered {answer.status}")
        if answer.body not in (str(request).encode(), b"" if request.method == "HEAD" else None):
            raise Broken(f"{request} was answered {answer.body!r}")
    if len(answers) < len(whole):
        raise Broken("a request was served and never answered")
    for refusal in answers[len(whole) :]:
        if refusal.status not in REFUSALS or not refusal.closes:
            raise Broken(f"{refusal} is no refusal")


def check_readings(data: bytes, seen: list[Seen]) -> None:
    """Whatever was served, others read the same, or they are stricter."""
    served = [Parsed.of(each) for each in seen if each.is_whole]
    for name, reading in (("h11", by_h11(data)), ("llhttp", by_llhttp(data))):
        for ours, theirs in zip(served, reading.requests, strict=False):
            if ours != theirs:
                raise Broken(f"we served {ours}, {name} reads {theirs}")
        if len(served) > len(reading.requests) and not (reading.refusal or reading.ends):
            raise Broken(f"we served {served}, {name} only {reading.requests}")


def spoil(server: Place, seed: str) -> bytes:
    """One trial with its own luck; the bytes that were sent."""
    luck = random.Random(seed)
    data = spoiled(luck)
    play(server, data, cut(data, luck))
    return data
