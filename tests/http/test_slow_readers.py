"""Who reads slowly gets all, who reads nothing is cut, whatever else is going on."""

import contextlib
import socket
import time
from typing import Any

import pytest

from tests.http.answers import final
from tests.http.harness import Served
from tests.http.pages import MIB, Pages
from tests.worker.rig import until

pytestmark = pytest.mark.timeout(120)

LINGER: dict[str, Any] = {"linger": 0.2, "timeout_head": 1.0}  # and so it looks often

GET = b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n"


def read(sock: socket.socket, pause: float = 0.0, size: int = MIB) -> tuple[bytes, float]:
    """All until the end of the connection, and the longest time between two reads."""
    received, longest = bytearray(), 0.0
    while True:
        began = time.monotonic()
        chunk = sock.recv(size)
        received += chunk
        if not chunk:
            return bytes(received), longest
        if pause:
            time.sleep(pause)
        longest = max(longest, time.monotonic() - began)


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n", 413),
        (
            b"POST /refuse HTTP/1.1\r\nHost: h\r\n"  # noqa: ISC004
            b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
            413,
        ),
    ],
    ids=["a refusal", "an unread body", "an expected body"],
)
def test_a_large_answer_before_the_last_words_is_read_to_its_end(
    loop: str, behind: bytes, status: int
) -> None:
    with Served(Pages(), loop=loop, **LINGER) as served, served.connect() as sock:
        sock.sendall(GET % (b"/whole", b"") + behind)
        until(lambda: len(served.counts.statuses) >= 1)
        pass_time(served)  # far longer than it lingers
        first, second = final(read(sock)[0])
        assert (first.status, len(first.body), second.status) == (200, 16 * MIB, status)


def test_a_large_answer_to_an_unread_body_is_read_to_its_end(loop: str) -> None:
    with Served(Pages(), loop=loop, **LINGER) as served, served.connect() as sock:
        sock.sendall(b"POST /whole HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
        until(lambda: len(served.counts.statuses) >= 1)
        pass_time(served)
        (answer,) = final(read(sock)[0])
        assert (answer.status, len(answer.body)) == (200, 16 * MIB)


def pass_time(served: Served) -> None:
    """Wait until another connection has lingered, three times."""
    for _ in range(3):
        with served.connect() as clock:
            clock.sendall(b"nonsense\r\n\r\n")
            before = served.counts.lost
            until(lambda: served.counts.lost > before)  # noqa: B023


def test_a_client_that_reads_steadily_and_slowly_gets_all(loop: str) -> None:
    """The kernel says that there is room when a third of its megabytes is free, and no sooner."""
    timeout = 2.0
    for _ in range(5):
        with Served(Pages(), loop=loop, timeout_write=timeout) as served, served.connect() as sock:
            sock.sendall(GET % (b"/whole", b"Connection: close\r\n"))
            began = time.monotonic()
            longest, received = 0.0, 0
            with contextlib.suppress(ConnectionResetError):
                while time.monotonic() - began < 3 * timeout:
                    before = time.monotonic()
                    received += len(sock.recv(20_000))
                    time.sleep(0.05)
                    longest = max(longest, time.monotonic() - before)
                received += len(read(sock)[0])
        if longest < timeout / 2:  # else the machine was slow, not the client
            assert received > 16 * MIB
            return
    pytest.fail("the machine never gave this test its time")


@pytest.mark.parametrize("field", [b"", b"Connection: close\r\n"], ids=["kept", "last"])
def test_a_client_that_reads_nothing_is_cut_however_little_is_left(loop: str, field: bytes) -> None:
    options: dict[str, Any] = {"timeout_write": 0.5, "timeout_keep_alive": 2.0}
    with Served(Pages(), loop=loop, **options) as served, contextlib.ExitStack() as stack:
        # Inherited by what is accepted: the kernel takes some 100 kB, and the rest is ours.
        served.running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        sizes = range(20_000, 300_000, 20_000)
        for size in sizes:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(served.address)
            sock.sendall(GET % (b"/bytes-%d" % size, field))
        until(lambda: served.counts.begun == len(sizes))
        until(lambda: served.counts.connections == 0)
