"""An address can have a listener for each slot, and belongs to one cluster all the same."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tercio.errors import AddressInUse
from tercio.system import bpf, queues
from tercio.system.sockets import Listener, Slots, open_listeners, parse_bind
from tests.ports import free_port
from tests.system import test_sockets
from tests.system.test_sockets import PATIENCE, needs_ipv6

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux' SO_REUSEPORT groups")

ROOT = Path(__file__).parents[2]
SLOTS = Slots(4, bpf.weighted([1, 0, 1, 0]))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def listen(stack: ExitStack, *binds: str, slots: Slots | None = SLOTS) -> list[Listener]:
    listeners = open_listeners(
        [parse_bind(bind) for bind in binds], backlog=512, uds_permissions=0o600, slots=slots
    )
    for listener in listeners:
        stack.callback(listener.close)
    return listeners


def connect(stack: ExitStack, host: str, port: int, number: int) -> list[socket.socket]:
    return [stack.enter_context(socket.create_connection((host, port))) for _ in range(number)]


def lengths(listener: Listener) -> list[int]:
    return [queues.waiting(each) for each in listener.sockets]


@pytest.mark.parametrize(
    ("bind", "hosts"),
    [
        ("127.0.0.1:0", ["127.0.0.1"]),
        ("0.0.0.0:0", ["127.0.0.1"]),
        pytest.param("[::1]:0", ["::1"], marks=needs_ipv6),
        pytest.param("[::]:0", ["::1", "127.0.0.1"], marks=needs_ipv6),
    ],
)
def test_the_program_chooses_from_the_first_connection_on(
    stack: ExitStack, bind: str, hosts: list[str]
) -> None:
    (listener,) = listen(stack, bind)
    assert len(listener.slots) == 4
    assert listener.why_shared == ""
    for host in hosts:
        connect(stack, host, listener.bind.port, 100)
    first, second, third, fourth = lengths(listener)
    assert (second, fourth) == (0, 0)
    assert first + third == 100 * len(hosts)
    assert min(first, third) > 10  # a hundred coins that all fall alike


@needs_ipv6
def test_ipv4_and_ipv6_at_one_port_are_two_groups(stack: ExitStack) -> None:
    port = free_port()
    v4, v6 = listen(stack, f"0.0.0.0:{port}", f"[::]:{port}")
    connect(stack, "127.0.0.1", port, 20)
    connect(stack, "::1", port, 10)
    assert (sum(lengths(v4)), sum(lengths(v6))) == (20, 10)


def test_all_slots_of_all_addresses_of_a_name_have_one_port(stack: ExitStack) -> None:
    listeners = listen(stack, "localhost:0")
    ports = {each.getsockname()[1] for listener in listeners for each in listener.sockets}
    assert ports == {listeners[0].bind.port}
    assert all(len(listener.slots) == 4 for listener in listeners)


def test_another_program_moves_what_comes_later_and_nothing_else(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0")
    connect(stack, "127.0.0.1", listener.bind.port, 40)
    before = lengths(listener)
    bpf.attach(listener.slots[0], bpf.weighted([0, 0, 0, 1]))
    connect(stack, "127.0.0.1", listener.bind.port, 40)
    assert lengths(listener) == [*before[:3], 40]


def test_slots_are_closed_together(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0")
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.bind.port))
    listen(stack, str(listener.bind))


def test_old_connections_do_not_keep_us_from_starting_again(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0", slots=Slots(4, bpf.weighted([0, 0, 1, 0])))
    with socket.create_connection(("127.0.0.1", listener.bind.port)) as client:
        listener.slots[2].setblocking(True)
        connection, _ = listener.slots[2].accept()
        connection.close()  # the server ends it first: TIME_WAIT is on its side
        assert client.recv(1) == b""
        listener.close()
    (again,) = listen(stack, str(listener.bind))
    assert len(again.slots) == 4


def test_a_slot_outlives_the_process_that_accepted_from_it(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0", slots=Slots(2, bpf.weighted([0, 1])))
    sleeper = subprocess.Popen(["sleep", "300"], pass_fds=listener.filenos())
    clients = connect(stack, "127.0.0.1", listener.bind.port, 5)
    sleeper.kill()
    sleeper.wait()
    listener.slots[1].setblocking(True)
    for client in clients:
        connection, _ = listener.slots[1].accept()
        with connection:
            client.sendall(b"?")
            assert connection.recv(1) == b"?"


# Alone


class Other(test_sockets.Other):
    """Another process that listens with slots where it is told to, as often as it is told to."""

    SOURCE = """
import sys, time
from tercio.errors import AddressInUse
from tercio.system import bpf
from tercio.system.sockets import Slots, open_listeners, parse_bind
slots = Slots(4, bpf.weighted([1, 1, 1, 1]))
for line in sys.stdin:
    bind, instant = line.split()
    while time.monotonic_ns() < int(instant):
        pass  # both contenders begin at the same instant
    try:
        listeners = open_listeners(
            [parse_bind(bind)], backlog=64, uds_permissions=0o600, slots=slots
        )
    except AddressInUse as error:
        print("in use", error, flush=True)
        continue
    print("listening", len(listeners[0].slots), flush=True)
    sys.stdin.readline()
    for listener in listeners:
        listener.close()
    print("closed", flush=True)
"""


def test_of_two_simultaneous_starts_exactly_one_has_all_slots(stack: ExitStack) -> None:
    contenders = (Other(stack), Other(stack))
    for contender in contenders:  # the imports are over
        contender.say(f"127.0.0.1:{free_port()} 0")
        assert contender.answer() == "listening 4"
        contender.say("close")
        assert contender.answer() == "closed"
    for number in range(100):
        port = free_port()
        instant = time.monotonic_ns() + 2_000_000
        # A wildcard and an address of it are in each other's way, too.
        hosts = ("127.0.0.1", "0.0.0.0" if number % 2 else "127.0.0.1")
        for contender, host in zip(contenders, hosts, strict=True):
            contender.say(f"{host}:{port} {instant}")
        outcomes = {contender: contender.answer() for contender in contenders}
        (winner,) = [one for one in contenders if outcomes[one] == "listening 4"]
        (loser,) = [one for one in contenders if one is not winner]
        assert outcomes[loser].startswith("in use")
        assert f"pid {winner.process.pid} " in outcomes[loser]
        winner.say("close")
        assert winner.answer() == "closed"


def test_a_port_whose_owner_was_killed_is_free(stack: ExitStack) -> None:
    other = Other(stack)
    port = free_port()
    other.say(f"127.0.0.1:{port} 0")
    assert other.answer() == "listening 4"
    with pytest.raises(AddressInUse, match=f"pid {other.process.pid} "):
        listen(stack, f"127.0.0.1:{port}")
    other.process.send_signal(signal.SIGKILL)
    other.process.wait()
    (listener,) = listen(stack, f"127.0.0.1:{port}")
    assert len(listener.slots) == 4


def test_somebody_who_forces_his_way_in_gets_no_connection(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0")
    with socket.socket() as intruder:
        intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        intruder.bind(("127.0.0.1", listener.bind.port))
        intruder.listen()
        connect(stack, "127.0.0.1", listener.bind.port, 50)
        assert queues.waiting(intruder) == 0
        assert sum(lengths(listener)) == 50


# One listener instead


def test_unix_and_inherited_sockets_have_one_listener_and_say_why(
    stack: ExitStack, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        unix, adopted = listen(stack, f"unix:{tmp_path}/app.sock", f"fd:{os.dup(passed.fileno())}")
        assert (unix.slots, unix.why_shared) == ((), "a Unix socket has one queue")
        assert (adopted.slots, adopted.why_shared) == ((), "another process opened it")
        assert adopted.is_adopted


OPENS = """
import resource, sys
from tercio.errors import AddressInUse
from tercio.system import bpf
from tercio.system.sockets import Slots, open_listeners, parse_bind
if "few" in sys.argv:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
slots = Slots(30, bpf.weighted([1] * 30))
def opened(port):
    return open_listeners(
        [parse_bind(f"127.0.0.1:{port}")], backlog=9, uds_permissions=0o600, slots=slots
    )
(listener,) = opened(0)
print(len(listener.slots), listener.why_shared)
try:
    opened(listener.bind.port)
except AddressInUse:
    print("alone")
"""


def opens(*command: str) -> list[str]:
    done = subprocess.run(
        [*command], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return done.stdout.splitlines()


def test_where_the_kernel_refuses_the_program_one_listener_is_there_for_all() -> None:
    refusing = [sys.executable, "-m", "tests.system.refusing", sys.executable, "-c", OPENS]
    assert opens(*refusing) == [
        "0 the kernel refuses listeners for each slot (Operation not permitted)",
        "alone",
    ]
    assert opens(sys.executable, "-c", OPENS) == ["30 ", "alone"]  # it is the filter


def test_without_descriptors_for_all_slots_there_is_one_listener() -> None:
    assert opens(sys.executable, "-c", OPENS, "few") == [
        "0 the kernel refuses listeners for each slot (Too many open files)",
        "alone",
    ]
