"""A process that application code forks keeps nothing of the worker open."""

import os

import pytest

from tests.worker.rig import Rig

pytestmark = pytest.mark.timeout(30)


def test_a_fork_outlives_its_worker_and_holds_nothing(loop: str) -> None:
    with Rig(options={"loop": loop, "drain_quiet": 0.2}) as rig:
        with rig.serving().connect() as client, rig.connect() as idle:
            client.ask("/fork")
            child = int(client.answer()[1])
            assert rig.tells() == f"{child} ForkedFromWorker\n"

            assert rig.get("/who")[0] == 200  # the fork left the parent's loop alone
            client.ask("/who")
            assert client.answer() == (200, b"worker 3.7 2")

            rig.drain()
            assert client.is_closed()
            assert idle.is_closed()
        assert rig.exit().code == 0
        os.kill(child, 0)  # it lives
        address = rig.address
        rig.listener.close()
        with pytest.raises(ConnectionRefusedError):
            rig.connect_to(address)


def test_a_fork_has_dev_null_in_the_place_of_what_it_lost(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig, rig.serving().connect() as client:
        client.ask("/fork")
        child = int(client.answer()[1])
        rig.tells()
        held = [os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")]
        assert f"socket:[{os.fstat(rig.listener.fileno()).st_ino}]" not in held
        assert "anon_inode:[eventpoll]" not in held
        assert "/memfd:stack (deleted)" not in held
        assert held.count("/dev/null") > 5
