"""Connections change hands between exchanges, and are never in two or in none."""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.dataplane.tickets import TICKETS
from tercio.handover.consignment import MOST_DATA, Cause
from tercio.http.luggage import Luggage
from tests.handover.exchanges import Place, is_ended, pair, until

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def run(main: Callable[[], Awaitable[None]]) -> None:
        if request.param == "uvloop":
            uvloop = pytest.importorskip("uvloop")
            factory = uvloop.new_event_loop
        else:
            factory = asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())  # type: ignore[arg-type]

    return run


Run = Callable[[Callable[[], Awaitable[None]]], None]


def test_a_connection_arrives_with_its_luggage(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            client, server = pair()
            luggage = Luggage(1.5, 3, 2, b"GET / HT")
            with client:
                assert one.exchange.give(server, luggage, Cause.REBALANCE, to=1)
                await until(lambda: bool(two.adopted))
                ((adopted, came),) = two.adopted
                assert came == luggage
                client.sendall(b"hello")
                await until(lambda: adopted.recv(5, socket.MSG_DONTWAIT) == b"hello")
                await until(lambda: not one.exchange.outstanding)
                assert server.fileno() == -1
                assert one.row[Field.MOVED_REBALANCE] == 1
                assert not is_ended(client)

    run(main)


def test_the_best_sibling_has_the_fewest_connections_and_is_not_stuck(run: Run) -> None:
    async def main() -> None:
        with Place(5) as place:
            one, *others = (place.home(seat).open() for seat in range(5))
            for home, connections in zip(others, (7, 5, 3, 1), strict=True):
                home.row[Field.CONNECTIONS] = connections
            assert (best := one.exchange.best()) is not None
            assert best.seat == 4
            assert (best := one.exchange.best(but={4})) is not None
            assert best.seat == 3
            others[3].row[Field.SUSPECT] = 1
            others[2].row[Field.WATCH_DUE] = 1
            assert (best := one.exchange.best()) is not None
            assert best.seat == 2
            others[1].exchange.shut()
            others[0].row[Field.PHASE] = 0
            assert one.exchange.best() is None

    run(main)


def test_who_has_no_room_refuses_and_the_connection_comes_back(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            two.room = 1
            pairs = [pair() for _ in range(3)]
            for _, server in pairs:
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
            await until(lambda: len(one.back) == 2)
            assert len(two.adopted) == 1
            assert one.row[Field.UNMOVED] == 2
            assert one.row[Field.MOVED_DRAIN] == 1
            for client, _ in pairs:
                assert not is_ended(client)
                client.close()

    run(main)


def test_who_leaves_refuses_and_who_has_ended_is_given_nothing(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            client, server = pair()
            with client:
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                two.exchange.shut()  # before it has looked into its inbox
                await until(lambda: bool(one.back))
                assert not one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                assert not one.exchange.give(server, Luggage(), Cause.DRAIN)
                assert not is_ended(client)

    run(main)


def test_who_ends_refuses_all_that_is_in_its_inbox(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            pairs = [pair() for _ in range(50)]
            for _, server in pairs:
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
            two.exchange.close()
            await until(lambda: len(one.back) == 50)
            assert two.adopted == []
            for client, _ in pairs:
                assert not is_ended(client)
                client.close()

    run(main)


def test_a_receiver_that_died_before_it_answered_gives_the_connection_back(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            client, server = pair()
            with client:
                two.end(is_reaped=False)  # with the connection in its inbox
                assert one.exchange.give(server, Luggage(asked=2), Cause.DRAIN, to=1)
                one.exchange.look()
                assert one.exchange.outstanding == 1  # nobody knows yet that it is dead
                place.shared.release(1)
                await until(lambda: bool(one.back))
                assert one.back[0].connection is server
                assert one.back[0].luggage.asked == 2
                assert one.row[Field.TAKEN_BACK] == 1
                # No copy is left in the inbox: the client sees an end when there is one.
                server.close()
                assert is_ended(client)

    run(main)


def test_the_next_of_a_seat_throws_away_what_was_meant_for_the_one_before(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            client, server = pair()
            with client:
                two.end(is_reaped=False)
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                # Reaped, but a sender was late: what it sent lies there for the next one.
                place.shared.scoreboard.fold(1)
                again = place.home(1, incarnation=2).open()
                await until(lambda: bool(one.back))
                await until(lambda: place.inboxes.receive(1) is None)
                assert again.adopted == []
                server.close()
                assert is_ended(client)

    run(main)


def test_a_sender_that_died_loses_nothing_that_it_has_sent(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1)
            client, server = pair()
            place.shared.tickets.set_door(1, 1) if place.shared.tickets else None
            with client:
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                one.end()
                two.room = 0  # nobody else has it: it is taken all the same
                two.open()
                await until(lambda: bool(two.adopted))
                assert not is_ended(client)

    run(main)


def test_what_cannot_be_sent_stays(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1)
            assert place.shared.tickets is not None
            place.shared.tickets.set_door(1, 1)  # it takes, and does not get round to it
            client, server = pair()
            with client, server:
                too_much = Luggage(data=b"x" * (MOST_DATA + 1))
                assert not one.exchange.give(server, too_much, Cause.STICKY, to=1)
                given = []
                while one.exchange.give(copy := server.dup(), Luggage(), Cause.DRAIN, to=1):
                    given.append(copy)
                copy.close()
                assert 0 < len(given) <= TICKETS
                assert one.exchange.outstanding == len(given)
                assert one.row[Field.UNMOVED] == 2
                two.open()
                await until(lambda: len(two.adopted) == len(given))
                await until(lambda: not one.exchange.outstanding)

    run(main)


def test_an_answer_is_found_when_it_could_not_be_told(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            while place.inboxes.send(0, b"anything"):
                pass  # the sender's inbox is full, and it reads nothing
            place.loop.remove_reader(place.inboxes.fileno(0))
            client, server = pair()
            with client:
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                await until(lambda: bool(two.adopted))
                await until(lambda: not one.exchange.outstanding)
                assert one.row[Field.MOVED_DRAIN] == 1

    run(main)


def test_a_thread_passes_on_what_comes_while_the_loop_is_blocked(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two, three = (place.home(seat).open() for seat in range(3))
            one.row[Field.CONNECTIONS] = 9
            pairs = [pair() for _ in range(5)]
            for _, server in pairs:
                assert one.exchange.give(server, Luggage(hops=1), Cause.DRAIN, to=1)
            counts: list[int] = []
            thread = threading.Thread(target=lambda: counts.append(two.exchange.forward()))
            thread.start()
            thread.join()  # the loop does nothing meanwhile
            assert counts == [5]
            await until(lambda: len(three.adopted) == 5)
            assert {luggage.hops for _, luggage in three.adopted} == {2}
            assert two.adopted == []
            assert two.row[Field.FORWARDED] == 5
            await until(lambda: not one.exchange.outstanding and not two.exchange.outstanding)
            for client, _ in pairs:
                assert not is_ended(client)
                client.close()

    run(main)


def test_nothing_is_touched_while_there_is_nobody_to_pass_it_to(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            client, server = pair()
            with client:
                one.row[Field.SUSPECT] = 1
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                assert two.exchange.forward() == 0
                await until(lambda: len(two.adopted) == 1)

    run(main)


def test_a_descriptor_that_cannot_be_had_is_refused(run: Run) -> None:
    async def main() -> None:
        with Place() as place:
            one, two = place.home(0).open(), place.home(1).open()
            client, server = pair()
            with client:
                assert one.exchange.give(server, Luggage(), Cause.DRAIN, to=1)
                taken = []
                try:
                    while True:
                        taken.append(os.dup(server.fileno()))
                except OSError:
                    pass  # EMFILE: the kernel drops what comes, and says MSG_CTRUNC
                try:
                    two.exchange._hear()
                finally:
                    for fd in taken:
                        os.close(fd)
                await until(lambda: bool(one.back))
                assert two.adopted == []
                assert not is_ended(client)

    run(main)
