"""Who gets which message, and what it costs when others come and go."""

import random
from collections.abc import Callable

from tercio.bus.desk import Desk, Entry
from tercio.bus.topics import parse_pattern


class Clerk:
    """An entry that says which topics it was asked about, and what it got."""

    def __init__(self, name: str, *patterns: str, own: bool = True) -> None:
        self.name = name
        self.own = own
        self.asked: list[str] = []
        self.got: list[tuple[str, bytes]] = []
        self.entry = Entry(tuple(parse_pattern(each) for each in patterns), self._taker, own)

    def _taker(self, topic: str) -> Callable[[bytes], None]:
        self.asked.append(topic)
        return lambda body: self.got.append((topic, body))


def give(desk: Desk, topic: str, *, own: bool = False) -> None:
    take = (desk.own_routes if own else desk.routes)[topic.encode()]
    if take is not None:
        take(b"x")


def test_who_comes_and_goes_costs_the_topics_of_others_nothing() -> None:
    desk = Desk()
    crowd = [Clerk(f"{n}", f"room.{n}") for n in range(1000)]
    for clerk in crowd:
        desk.add(clerk.entry)
    for number in range(10):
        late = Clerk("late", "room.5")
        desk.add(late.entry)
        for clerk in crowd:
            give(desk, f"room.{clerk.name}")
        assert late.got == [("room.5", b"x")]
        desk.remove(late.entry)
        assert [len(clerk.got) for clerk in crowd] == [number + 1] * 1000
    assert {len(clerk.asked) for clerk in crowd} == {1, 10}
    assert len(crowd[5].asked) == 10


def test_a_desk_says_the_same_as_a_look_at_all_patterns() -> None:
    chance = random.Random(7)
    topics = ["a", "b", "a.b", "a.c", "b.c", "a.b.c", "c.b.a"]
    patterns = [*topics, "*", "**", "a.*", "a.**", "*.c", "a.*.c"]
    desk = Desk()
    here: list[Clerk] = []
    for number in range(3000):
        what = chance.random()
        if what < 0.2:
            wanted = chance.sample(patterns, chance.randint(1, 3))
            here.append(Clerk(f"{number}", *wanted, own=chance.random() < 0.5))
            desk.add(here[-1].entry)
        elif what < 0.4 and here:
            gone = here.pop(chance.randrange(len(here)))
            desk.remove(gone.entry)
            desk.remove(gone.entry)  # again does nothing
        else:
            topic, own = chance.choice(topics), chance.random() < 0.5
            give(desk, topic, own=own)
            for clerk in here:
                matches = any(each.matches(topic.split(".")) for each in clerk.entry.patterns)
                assert clerk.got == [(topic, b"x")] * (matches and (clerk.own or not own))
                clerk.got.clear()
        assert desk.wants_own == any(clerk.own for clerk in here)
        assert len(desk) == len(here)


def test_messages_are_given_in_the_order_in_which_their_takers_came() -> None:
    desk, order = Desk(), []
    for name in ("a.*", "a.b", "**", "a.b"):

        def taker(topic: str, name: str = name) -> Callable[[bytes], None]:
            return lambda body: order.append(name)

        desk.add(Entry((parse_pattern(name),), taker, own=True))
    give(desk, "a.b")
    assert order == ["a.*", "a.b", "**", "a.b"]
