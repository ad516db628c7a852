"""Every interleaving of one move, with a death at every step: one reader, and never none for it.

The steps of the two workers and of the primary are played by a search through all states, with the
decisions of `tercio.handover.moves` in them. The mutants show that the search can fail.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tercio.handover.moves import (
    Act,
    Outcome,
    Receiver,
    State,
    act,
    answered,
    offer_word,
    outcome,
)

OFFER = offer_word(7, 1)
RECEIVER = 5  # its incarnation; the next one in the seat is 6

Judge = Callable[..., Outcome | None]
Decide = Callable[..., Act]


@dataclass(frozen=True, slots=True)
class World:
    """All that can differ. ``sender`` and ``receiver`` are what each does next."""

    has_room: bool
    has_descriptor: bool
    sender: str = "write"
    receiver: str = "wait"
    word: int = 0
    seen_dead: bool = False  # the sender's, before it reads the word
    found: int = 0  # the receiver's, before it decides
    is_sent: bool = False  # the message lies in the inbox
    sender_reads: bool = False
    receiver_reads: bool = False
    was_read: bool = False  # by the receiver, some time: half a request may be gone with it
    killed: tuple[str, ...] = ()
    row: bool = True  # says that the receiver lives
    swept: bool = False  # the primary has emptied the inbox of the dead receiver
    next_swept: bool = False  # and so has the receiver that came next
    cleared: bool = False  # the tickets of the dead sender

    @property
    def copies(self) -> int:
        held_by_sender = self.sender != "gone" and "sender" not in self.killed
        held_by_receiver = self.receiver in ("look", "decide", "store", "read", "reads")
        return held_by_sender + (held_by_receiver and "receiver" not in self.killed) + self.is_sent


@dataclass(frozen=True, slots=True)
class Rules:
    """The protocol, or a mutant of it."""

    judge: Judge = outcome
    decide: Decide = act
    reads_first: bool = False
    deaths: frozenset[str] = frozenset()


def steps(world: World, rules: Rules) -> Iterator[World]:
    change = dataclasses.replace
    if "sender" not in world.killed:
        yield from sender_steps(world, rules)
        if "sender" in rules.deaths:
            yield change(world, killed=(*world.killed, "sender"), sender_reads=False)
    elif not world.cleared:
        yield change(world, cleared=True, word=0)
    if "receiver" not in world.killed:
        yield from receiver_steps(world, rules)
        if "receiver" in rules.deaths:
            yield change(world, killed=(*world.killed, "receiver"), receiver_reads=False)
    elif world.row:
        yield change(world, row=False)
    elif not world.swept:
        yield change(world, swept=True, is_sent=False)
    elif not world.next_swept and world.is_sent:
        # A sender that was late: the next one of the seat looks at what is not its own.
        decision = rules.decide(
            Receiver(RECEIVER + 1, True),
            meant_for=RECEIVER,
            offered=OFFER,
            found=world.word,
            has_descriptor=True,
        )
        assert decision is Act.DROP
        yield change(world, next_swept=True, is_sent=False)


def sender_steps(world: World, rules: Rules) -> Iterator[World]:
    change = dataclasses.replace
    match world.sender:
        case "write":
            yield change(world, sender="send", word=OFFER)
        case "send":
            yield change(world, sender="ask", is_sent=True)
        case "ask":
            yield change(world, sender="judge", seen_dead=not world.row)
        case "judge":
            found = rules.judge(OFFER, world.word, is_dead=world.seen_dead)
            if found is None:
                yield change(world, sender="ask", seen_dead=False)
            elif found is Outcome.TAKEN:
                yield change(world, sender="gone")
            else:
                yield change(world, sender="back", sender_reads=True)


def receiver_steps(world: World, rules: Rules) -> Iterator[World]:
    change = dataclasses.replace
    match world.receiver:
        case "wait" if world.is_sent:
            yield change(world, receiver="look", is_sent=False)
        case "look":
            yield change(world, receiver="decide", found=world.word)
        case "decide":
            decision = rules.decide(
                Receiver(RECEIVER, world.has_room),
                meant_for=RECEIVER,
                offered=OFFER,
                found=world.found,
                has_descriptor=world.has_descriptor,
            )
            if decision is Act.TAKE and rules.reads_first:
                yield change(world, receiver="store", receiver_reads=True, was_read=True)
            elif decision is Act.TAKE:
                yield change(world, receiver="read", word=answered(OFFER, State.TAKEN))
            elif decision is Act.INHERIT:
                yield change(world, receiver="reads", receiver_reads=True, was_read=True)
            elif decision is Act.REFUSE:
                yield change(world, receiver="refused", word=answered(OFFER, State.REFUSED))
            else:
                yield change(world, receiver="dropped")
        case "store":
            yield change(world, receiver="reads", word=answered(OFFER, State.TAKEN))
        case "read":
            yield change(world, receiver="reads", receiver_reads=True, was_read=True)


def explore(start: World, rules: Rules) -> int:
    """Go through all states; the number of them."""
    seen = {start}
    todo = [start]
    while todo:
        world = todo.pop()
        assert world.sender_reads + world.receiver_reads <= 1, f"two readers: {world}"
        assert not (world.sender_reads and world.was_read), f"read in part: {world}"
        following = [each for each in steps(world, rules) if each != world]
        if is_over(world):
            check_end(world)
        for each in following:
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return len(seen)


def is_over(world: World) -> bool:
    """Nothing can happen any more but a death."""
    is_reaped = not world.row and world.swept
    sender_is_done = world.sender in ("gone", "back") or "sender" in world.killed
    receiver_is_done = (
        is_reaped and not world.is_sent
        if "receiver" in world.killed
        else world.receiver in ("refused", "dropped", "reads")
        or (world.receiver == "wait" and not world.is_sent and world.sender not in ("ask", "judge"))
    )
    return sender_is_done and receiver_is_done


def check_end(world: World) -> None:
    readers = world.sender_reads + world.receiver_reads
    assert not world.is_sent, f"a copy stays in the inbox: {world}"
    if readers:
        assert world.copies == 1, f"a copy too many keeps the client from an end: {world}"
        return
    # Lost: with a worker that had it to itself, or with both.
    assert world.killed, f"lost: {world}"
    if len(world.killed) == 2:
        return
    if world.killed == ("receiver",):
        assert world.word == answered(OFFER, State.TAKEN), f"lost: {world}"
    else:
        never_had_it = world.receiver == "dropped" and not world.has_descriptor
        assert world.receiver in ("wait", "refused") or never_had_it, f"lost: {world}"


ROOMS = [(True, True), (False, True), (True, False)]


@pytest.mark.parametrize(("has_room", "has_descriptor"), ROOMS)
@pytest.mark.parametrize("deaths", [(), ("sender",), ("receiver",), ("sender", "receiver")])
def test_a_connection_has_one_reader_whoever_dies_when(
    deaths: tuple[str, ...], has_room: bool, has_descriptor: bool
) -> None:
    count = explore(World(has_room, has_descriptor), Rules(deaths=frozenset(deaths)))
    assert count > 8


def test_a_receiver_that_reads_before_it_answers_is_found() -> None:
    with pytest.raises(AssertionError, match="read in part"):
        explore(World(True, True), Rules(reads_first=True, deaths=frozenset({"receiver"})))


def test_a_sender_that_does_not_wait_for_a_death_is_found() -> None:
    def hasty(offered: int, found: int, *, is_dead: bool) -> Outcome | None:
        return outcome(offered, found, is_dead=True)

    with pytest.raises(AssertionError, match="two readers"):
        explore(World(True, True), Rules(judge=hasty))


def test_a_sender_that_believes_the_death_before_the_word_is_found() -> None:
    def deaf(offered: int, found: int, *, is_dead: bool) -> Outcome | None:
        return Outcome.BEREFT if is_dead else outcome(offered, found, is_dead=False)

    with pytest.raises(AssertionError, match="read in part"):
        explore(World(True, True), Rules(judge=deaf, deaths=frozenset({"receiver"})))


def test_a_receiver_that_takes_what_is_meant_for_another_is_found() -> None:
    def greedy(receiver: Receiver, **message: int) -> Act:
        return act(receiver, **{**message, "meant_for": receiver.incarnation})  # type: ignore[arg-type]

    with pytest.raises(AssertionError):
        explore(World(True, True), Rules(decide=greedy, deaths=frozenset({"receiver"})))


def test_a_receiver_that_refuses_what_a_dead_sender_left_is_found() -> None:
    def strict(receiver: Receiver, **message: int) -> Act:
        found = act(receiver, **message)  # type: ignore[arg-type]
        return Act.DROP if found is Act.INHERIT else found

    with pytest.raises(AssertionError, match="lost"):
        explore(World(True, True), Rules(decide=strict, deaths=frozenset({"sender"})))
