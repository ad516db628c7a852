"""A WSGI application is found out, served in threads, and freed of clients that are gone."""

import pytest

from tercio.config import Config
from tercio.dataplane.scoreboard import Field
from tercio.servers.drain import FAREWELL, LAST_WORDS
from tercio.worker.endings import NO_PATIENCE
from tests.worker.rig import Rig

pytestmark = pytest.mark.timeout(30)


def test_it_is_served_in_threads(loop: str) -> None:
    with Rig("wsgi_apps:app", options={"loop": loop, "threads": 2}) as rig:
        status, body = rig.serving().get("/")
        assert status == 200
        assert body.startswith(b"WSGI")
        with rig.connect() as client:
            client.ask("/echo", method="POST", body=b"hello")
            assert client.answer() == (200, b"hello")
        rig.drain()
        assert rig.exit().code == 0


def test_its_exceptions_are_500() -> None:
    with Rig("wsgi_apps:app") as rig:
        assert rig.serving().get("/raise")[0] == 500
        rig.count(Field.ERRORS, 1)


def test_an_endless_answer_gives_its_thread_back(loop: str) -> None:
    with Rig("wsgi_apps:app", options={"loop": loop, "threads": 1}) as rig:
        rig.serving()
        for _ in range(2):
            with rig.connect() as client:
                client.ask("/endless")
                assert client.head() == 200
            assert rig.tells() == "closed\n"
        assert rig.get("/")[0] == 200
        assert rig.row[Field.ERRORS] == 0


def test_what_a_cut_takes_stays_below_the_grace_before_a_kill() -> None:
    assert 0.6 * Config().kill_grace >= FAREWELL + LAST_WORDS + NO_PATIENCE


def test_a_thread_that_never_ends_does_not_hold_the_worker(
    loop: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with Rig("wsgi_apps:app", options={"loop": loop}) as rig, rig.serving().connect() as client:
        client.ask("/stuck")
        assert client.head() == 200
        rig.drain(timeout=0.2)
        assert rig.exit(5).code == 0
        assert rig.said("cut")[0]["paths"] == ["/stuck"]
    assert "Traceback" not in capfd.readouterr().err
