"""A WSGI application is found out, served in threads, and freed of clients that are gone."""

import asyncio
import gc
import json
import os
import threading
import time
import weakref
from contextlib import ExitStack
from typing import Any

import pytest

from tercio.config import Config
from tercio.dataplane.scoreboard import Field
from tercio.servers.drain import FAREWELL, LAST_WORDS
from tercio.servers.wsgi.app import Overdue, WsgiApp
from tercio.worker.endings import NO_PATIENCE
from tests.worker.rig import Rig, until

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


def test_it_keeps_to_the_protocol(capfd: pytest.CaptureFixture[str]) -> None:
    options = {"interface": "wsgi"}
    with Rig("wsgi_apps:validated", options=options) as rig, rig.serving().connect() as client:
        client.ask("/gr%C3%BCn?a=%20", method="POST", body=b"hello")
        assert client.answer() == (200, "/grünhello".encode())
    assert "Error" not in capfd.readouterr().err


def test_headers_are_as_an_environ_can_hold_them() -> None:
    with Rig("wsgi_apps:app") as rig, rig.serving().connect() as client:
        client.ask(
            "/environ", "Cookie: a=1", "X_Real_IP: 6.6.6.6", "X-Real-IP: 10.0.0.1", "Cookie: b=2",
            "Accept: a", "Accept: b",
        )  # fmt: skip
        status, body = client.answer()
        assert status == 200
        environ = json.loads(body)
        assert environ["HTTP_COOKIE"] == "a=1; b=2"
        assert environ["HTTP_X_REAL_IP"] == "10.0.0.1"
        assert environ["HTTP_ACCEPT"] == "a,b"


def test_a_body_is_read_as_a_file(loop: str) -> None:
    with Rig("wsgi_apps:app", options={"loop": loop}) as rig, rig.serving().connect() as client:
        client.ask("/lines", "Content-Length: 18", method="POST")
        for piece in (b"fir", b"st\n", b"second\nth", b"ird"):
            client.send(piece)
        assert client.answer() == (200, b"fir|st\n|second\n|third|end||")
        large = b"0123456789abcde\n" * 20_000
        client.ask("/echo", method="POST", body=large)
        assert client.answer() == (200, large)


@pytest.mark.parametrize("limit", [0, 30])
@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_half_of_an_upload_is_no_upload(
    framing: str, limit: float, any_server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"timeout_request": limit, "server": any_server}
    with Rig("wsgi_apps:app", options=options) as rig:
        with rig.serving().connect() as client:
            client.ask("/upload", framing, method="POST")
            client.send(b"4\r\nhalf\r\n")
            rig.count(Field.IN_FLIGHT, 1)
        assert rig.tells() == "the client left before its request was read to the end\n"
        rig.count(Field.IN_FLIGHT, 0)
        assert rig.get("/")[0] == 200
        assert rig.row[Field.ERRORS] == 0
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "without starting" not in said


def test_its_exceptions_are_500() -> None:
    with Rig("wsgi_apps:app") as rig:
        assert rig.serving().get("/raise")[0] == 500
        rig.count(Field.ERRORS, 1)


def test_an_endless_answer_gives_its_thread_back(loop: str, any_server: str) -> None:
    options = {"loop": loop, "threads": 1, "server": any_server}
    with Rig("wsgi_apps:app", options=options) as rig:
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


def test_who_takes_too_long_is_shown_and_its_client_gets_504(loop: str) -> None:
    options = {"loop": loop, "threads": 4, "timeout_request": 0.3}
    with Rig("wsgi_apps:app", options=options) as rig, rig.serving().connect() as client:
        client.ask("/hold")
        assert client.answer() == (504, b"Gateway Timeout")
        told = rig.wait_for("overdue")
        assert told["request"] == "GET /hold"
        assert told["seconds"] >= 0.3
        assert told["culprit"].endswith(" in answer")
        assert "wsgi_apps.py" in told["culprit"]
        assert "until the test lets go" in told["stack"]
        rig.count(Field.OVERDUE, 1)
        # The connection goes on, and so does the thread when it can.
        client.ask("/")
        assert client.answer()[0] == 200
        os.write(rig.hold, b"x")
        assert rig.tells() == "went on\n"
        assert not rig.said("stuck")
        rig.drain()
        assert rig.exit().code == 0


def test_a_worker_without_half_of_its_threads_asks_for_a_successor() -> None:
    with Rig("wsgi_apps:app", options={"threads": 2, "timeout_request": 0.3}) as rig:
        assert rig.serving().get("/hold")[0] == 504
        assert rig.wait_for("stuck") == {"type": "stuck", "stuck": 1, "threads": 2}
        assert rig.get("/hold")[0] == 504
        # No thread is left: who waits for one is told to come again.
        with rig.connect() as client:
            client.ask("/")
            assert (client.head(), client.headers["retry-after"]) == (503, "1")
        rig.count(Field.OVERDUE, 3)
        told = [rig.wait_for("overdue")["stack"] for _ in range(3)]
        assert [bool(stack) for stack in told] == [True, True, False]
        assert not rig.said("stuck")  # it asks once
        os.write(rig.hold, b"xx")
        until(lambda: rig.get("/")[0] == 200)


def test_of_a_crowd_that_waits_all_are_counted_and_a_few_told_of() -> None:
    began = time.monotonic()
    with Rig("wsgi_apps:app", options={"threads": 1, "timeout_request": 0.3}) as rig:
        rig.serving()
        with ExitStack() as stack:
            clients = [stack.enter_context(rig.connect()) for _ in range(60)]
            clients[0].ask("/hold")
            assert clients[0].answer()[0] == 504
            for client in clients[1:]:
                client.ask("/")
            assert {client.answer()[0] for client in clients[1:]} == {503}
        rig.count(Field.OVERDUE, 60)
        rig.settle()
        seconds = time.monotonic() - began
        assert 1 <= len(rig.said("overdue")) <= 10 + seconds
        os.write(rig.hold, b"x")


def test_pieces_that_keep_coming_are_in_time(loop: str) -> None:
    with Rig("wsgi_apps:app", options={"loop": loop, "timeout_request": 0.6}) as rig:
        assert rig.serving().get("/slow") == (200, b"x" * 8)  # 0.8 s in all
        with rig.connect() as client:
            client.ask("/stuck")
            assert client.head() == 200
            assert client.chunk() == b"x"
            assert client.is_closed()
        assert rig.wait_for("overdue")["request"] == "GET /stuck"


def test_a_client_may_take_its_time(loop: str) -> None:
    options = {"loop": loop, "threads": 1, "timeout_request": 0.3}
    with Rig("wsgi_apps:app", options=options) as rig, rig.serving().connect() as client:
        began = time.monotonic()
        client.ask("/echo", "Content-Length: 2", method="POST")
        client.send(b"a")
        until(lambda: time.monotonic() - began > 1.0)
        client.send(b"b")
        assert client.answer() == (200, b"ab")
        assert rig.row[Field.OVERDUE] == 0


@pytest.mark.parametrize("pieces", [1, 9])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_may_read_slowly(framing: str, pieces: int, loop: str) -> None:
    options = {"loop": loop, "threads": 1, "timeout_request": 0.3}
    with Rig("wsgi_apps:app", options=options) as rig, rig.serving().connect() as client:
        client.ask(f"/large/{framing}/{pieces}")
        if pieces == 1:
            assert rig.tells() == "closed\n"  # the application has left
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 1.0)
        status, body = client.answer()
        assert (status, len(body)) == (200, 9 << 20)
        client.ask("/")
        assert client.answer()[0] == 200
        assert rig.row[Field.OVERDUE] == 0
        assert rig.row[Field.ERRORS] == 0


@pytest.mark.parametrize("limit", [0, 0.5])
def test_an_answer_that_cannot_be_sent_gives_its_thread_back(limit: float) -> None:
    with Rig("wsgi_apps:app", options={"threads": 1, "timeout_request": limit}) as rig:
        rig.serving()
        for _ in range(2):
            with rig.connect() as client:
                client.ask("/longer-than-it-says")
                client.head()
                assert rig.tells() == "closed\n"
        assert rig.get("/")[0] == 200
        assert rig.row[Field.OVERDUE] == 0


def test_who_ends_just_in_time_and_who_just_not(capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever comes first, the thread or the clock: an answer, or 504, and nothing else."""
    options = {"threads": 4, "timeout_request": 0.05}
    with Rig("wsgi_apps:app", options=options) as rig, ExitStack() as stack:
        rig.serving()
        clients = [stack.enter_context(rig.connect()) for _ in range(4)]
        found = set()
        for round in range(60):
            for number, client in enumerate(clients):
                client.ask(f"/nap/{0.048 + (round + number) % 8 / 2000}")
            found |= {client.answer()[0] for client in clients}
        assert found <= {200, 504}
        assert rig.row[Field.ERRORS] == 0
    assert "Traceback" not in capfd.readouterr().err


def test_what_comes_after_the_answer_does_not_spoil_it(capfd: pytest.CaptureFixture[str]) -> None:
    options = {"threads": 4, "timeout_request": 0.3}
    with Rig("wsgi_apps:app", options=options) as rig, rig.serving().connect() as client:
        client.ask("/late-close")
        assert client.answer() == (200, b"all")
        assert rig.wait_for("overdue")["culprit"].endswith(" in close")
        client.ask("/")
        assert client.answer()[0] == 200
        assert rig.row[Field.ERRORS] == 0
        os.write(rig.hold, b"x")
        assert rig.tells() == "closed\n"
    assert "Traceback" not in capfd.readouterr().err


def test_a_path_is_shown_on_one_line() -> None:
    with Rig("wsgi_apps:app", options={"threads": 4, "timeout_request": 0.3}) as rig:
        assert rig.serving().get("/hold%0AERROR:%20faked%1b[31m")[0] == 504
        assert rig.wait_for("overdue")["request"] == "GET /hold%0AERROR%3A%20faked%1B%5B31m"
        os.write(rig.hold, b"x")


@pytest.mark.anyio
async def test_who_waits_for_a_thread_in_vain_leaves_nothing_behind() -> None:
    hold = threading.Event()

    class KeptScope(dict[str, Any]):
        """That can be looked for."""

    def wait(environ: dict[str, Any], start: Any) -> list[bytes]:
        hold.wait()
        start("200 OK", [])
        return [b"too late"]

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async def receive() -> Any:
        return {"type": "http.request"}

    def scope() -> KeptScope:
        made = KeptScope(
            type="http", method="GET", path="/", query_string=b"", http_version="1.1", headers=[]
        )
        scopes.append(weakref.ref(made))
        return made

    statuses: list[int | None] = []
    scopes: list[weakref.ref[KeptScope]] = []
    told: list[Overdue] = []
    app = WsgiApp(wait, 1, 0.1, told.append)
    try:
        await app(scope(), receive, send)
        await asyncio.gather(*(app(scope(), receive, send) for _ in range(50)))
        assert [status for status in statuses if status] == [504, *[503] * 50]
        assert [each.stuck for each in told] == [1] * 51
        told.clear()
        gc.collect()
        assert len([each for each in scopes if each() is not None]) == 1
    finally:
        hold.set()


def test_what_a_thread_raises_after_its_time_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    with Rig("wsgi_apps:app", options={"timeout_request": 0.3}) as rig:
        assert rig.serving().get("/hold-and-raise")[0] == 504
        os.write(rig.hold, b"x")
        assert rig.tells() == "raises\n"
        rig.drain()
        assert rig.exit().code == 0
        assert rig.row[Field.ERRORS] == 0  # that one was 504 before
    assert "GET /hold-and-raise failed after it was over: ValueError" in capfd.readouterr().err


def test_other_applications_do_not_use_it() -> None:
    with Rig("apps:app", options={"timeout_request": 1.0}) as rig:
        rig.serving()
        assert "is for WSGI applications" in rig.wait_for("note")["text"]
