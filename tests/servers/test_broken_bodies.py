"""A body that breaks off or is no body at all ends its request; it waits for nobody."""

import pytest

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import Rig

pytestmark = pytest.mark.timeout(30)

CHUNKED = b"POST /body HTTP/1.1\r\nHost: rig\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
BROKEN = b"zz\r\nxxxx\r\n"


def test_a_broken_body_is_refused_and_holds_nothing(loop: str, server: str) -> None:
    with Rig(options={"loop": loop, "server": server, "log_level": "critical"}) as rig:
        with rig.serving().connect() as client:
            client.send(CHUNKED)
            rig.count(Field.IN_FLIGHT, 1)  # the application waits for the rest
            client.send(BROKEN)
            assert client.answer()[0] == 400
            assert client.is_closed()
        rig.count(Field.IN_FLIGHT, 0)
        rig.count(Field.CONNECTIONS, 0)
        assert rig.get()[0] == 200


def test_a_broken_body_behind_another_request_leaves_that_one_its_answer(
    loop: str, server: str
) -> None:
    with Rig(options={"loop": loop, "server": server, "log_level": "critical"}) as rig:
        with rig.serving().connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: rig\r\n\r\n" + CHUNKED + BROKEN)
            assert client.answer()[0] == 200
            if server == "tercio":
                assert client.answer()[0] == 400
            assert client.is_closed()
        rig.count(Field.IN_FLIGHT, 0)
        rig.count(Field.CONNECTIONS, 0)
