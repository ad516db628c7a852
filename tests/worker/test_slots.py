"""A worker accepts from its own slot's listeners, and from others when it is told to."""

import os
import select
import signal
import sys

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.system import queues
from tests.worker.rig import Client, Rig, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="slots are SO_REUSEPORT groups")

SERVERS = ("tercio", "uvicorn", "granian")


@pytest.fixture(params=SERVERS)
def rig(request: pytest.FixtureRequest, loop: str) -> Rig:
    pytest.importorskip({"tercio": "httptools"}.get(request.param, request.param))
    options = {"server": request.param, "loop": loop, "drain_quiet": 0.3}
    return Rig(options=options, slots=5)


def waiting(rig: Rig) -> list[int]:
    return [queues.waiting(each) for each in rig.slots]


def queue(rig: Rig, slot: int, number: int) -> list[Client]:
    """Clients that have asked and stand in the queue of a slot."""
    rig.lead_to(slot)
    clients = [rig.connect() for _ in range(number)]
    for client in clients:
        client.ask("/", "Connection: close")
    return clients


def test_only_what_comes_to_the_own_slot_is_accepted(rig: Rig) -> None:
    with rig:
        assert rig.serving().get()[0] == 200
        others = queue(rig, 1, 3)
        rig.lead_to(3)
        assert rig.get()[0] == 200
        assert waiting(rig) == [0, 3, 0, 0, 0]
        assert not select.select([client.sock for client in others], [], [], 0.1)[0]
        for client in others:
            client.close()


def test_another_queue_is_emptied_by_order_and_the_own_one_goes_on(rig: Rig) -> None:
    with rig:
        assert rig.serving().get()[0] == 200
        others = queue(rig, 1, 3)
        own = queue(rig, 3, 3)
        rig.send(type="steal", slot=1, count=64)
        for client in (*own, *others):
            with client:
                assert client.answer() == (200, str(rig.process.pid).encode())
        rig.count(Field.STOLEN, 3)
        assert waiting(rig) == [0] * 5
        rig.lead_to(3)
        for _ in range(5):
            assert rig.get()[0] == 200


def test_orders_in_a_row_for_several_slots_are_all_carried_out(rig: Rig) -> None:
    with rig:
        assert rig.serving().get()[0] == 200
        clients = [client for slot in (0, 1, 2, 4) for client in queue(rig, slot, 2)]
        for _ in range(3):
            for slot in (0, 1, 2, 4):
                rig.send(type="steal", slot=slot, count=64)
            rig.settle()
        until(lambda: not any(waiting(rig)) or _ask_again(rig))
        for client in clients:
            with client:
                assert client.answer()[0] == 200


def _ask_again(rig: Rig) -> bool:
    """As the primary does: granian's visit to one queue is cut short by the order for another."""
    for slot, number in enumerate(waiting(rig)):
        if number and slot != 3:
            rig.send(type="steal", slot=slot, count=64)
            rig.settle()
    return False


def test_a_parked_worker_takes_nothing_from_another(rig: Rig) -> None:
    with rig:
        assert rig.serving().get()[0] == 200
        rig.send(type="park")
        rig.settle()
        others = queue(rig, 1, 2)
        rig.send(type="steal", slot=1, count=64)
        rig.settle()
        assert waiting(rig)[1] == 2
        assert rig.row[Field.STOLEN] == 0
        for client in others:
            client.close()


def test_what_waits_when_a_worker_begins_to_serve_is_served(rig: Rig) -> None:
    with rig:
        rig.wait_for("ready")
        clients = queue(rig, 3, 10)
        rig.send(type="serve")
        for client in clients:
            with client:
                assert client.answer()[0] == 200


def test_a_worker_that_leaves_takes_what_waits_for_it(loop: str) -> None:
    with Rig(options={"loop": loop, "drain_quiet": 5.0}, slots=5) as rig:
        assert rig.serving().get()[0] == 200
        # It is stopped while clients come, and then finds its orders and them at once.
        os.kill(rig.process.pid, signal.SIGSTOP)
        clients = queue(rig, 3, 50)
        rig.drain()
        os.kill(rig.process.pid, signal.SIGCONT)
        for client in clients:
            with client:
                assert client.answer()[0] == 200
        assert rig.exit().code == 0
