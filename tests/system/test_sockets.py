"""An address is ours alone or the start fails at once, and says who is in the way."""

import errno
import os
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tercio.errors import AddressInUse, ConfigError, CouldNotStart
from tercio.system.peer import PeerCredentials, peer_credentials
from tercio.system.sockets import (
    Bind,
    BindKind,
    Listener,
    open_listeners,
    parse_bind,
    tcp_bind,
    unix_bind,
)
from tests.ports import free_port

PATIENCE = 30.0  # seconds

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root may")
needs_ipv6 = pytest.mark.skipif(
    not Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").exists()
    or Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").read_text().strip() != "0",
    reason="this machine has no IPv6",
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def listen(stack: ExitStack, *binds: str, permissions: int = 0o660) -> list[Listener]:
    listeners = open_listeners(
        [parse_bind(bind) for bind in binds], backlog=64, uds_permissions=permissions
    )
    for listener in listeners:
        stack.callback(listener.close)
    return listeners


def answers(family: int, address: object) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(address) == 0  # type: ignore[arg-type]


class Other:
    """Another process that listens where it is told to, as often as it is told to."""

    SOURCE = """
import sys, time
from tercio.errors import AddressInUse
from tercio.system.sockets import open_listeners, parse_bind
for line in sys.stdin:
    bind, instant = line.split()
    while time.monotonic_ns() < int(instant):
        pass  # both contenders begin at the same instant
    try:
        listeners = open_listeners([parse_bind(bind)], backlog=64, uds_permissions=0o600)
    except AddressInUse as error:
        print("in use", error, flush=True)
        continue
    print("listening", flush=True)
    sys.stdin.readline()
    for listener in listeners:
        listener.close()
    print("closed", flush=True)
"""

    def __init__(self, stack: ExitStack) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", self.SOURCE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self.process.kill)

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], PATIENCE)[0]
        return self.process.stdout.readline().rstrip("\n")

    def listen(self, bind: str) -> None:
        self.say(f"{bind} 0")
        assert self.answer() == "listening"


def run_python(source: str, *arguments: str, pass_fds: Sequence[int] = ()) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source, *arguments],
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What a bind means


@pytest.mark.parametrize(
    ("text", "bind", "shown"),
    [
        ("8000", Bind(BindKind.TCP4, "0.0.0.0", 8000), "0.0.0.0:8000"),
        (":8000", Bind(BindKind.TCP4, "0.0.0.0", 8000), "0.0.0.0:8000"),
        ("127.0.0.1:0", Bind(BindKind.TCP4, "127.0.0.1", 0), "127.0.0.1:0"),
        ("localhost:80", Bind(BindKind.NAME, "localhost", 80), "localhost:80"),
        ("my_app-1.example.:80", Bind(BindKind.NAME, "my_app-1.example.", 80), None),
        ("[::1]:8000", Bind(BindKind.TCP6, "::1", 8000), "[::1]:8000"),
        ("[::]:8000", Bind(BindKind.TCP6, "::", 8000), "[::]:8000"),
        ("[fe80::1%eth0]:1", Bind(BindKind.TCP6, "fe80::1%eth0", 1), "[fe80::1%eth0]:1"),
        ("unix:/run/app.sock", Bind(BindKind.UNIX, path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:///run/app.sock", Bind(BindKind.UNIX, path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:app.sock", Bind(BindKind.UNIX, path="app.sock"), "unix:app.sock"),
        ("fd:3", Bind(BindKind.FD, fd=3), "fd:3"),
        ("fd://3", Bind(BindKind.FD, fd=3), "fd:3"),
        (" systemd ", Bind(BindKind.SYSTEMD), "systemd"),
    ],
)
def test_a_bind_is_read_and_shown(text: str, bind: Bind, shown: str | None) -> None:
    assert bind == parse_bind(text)
    assert (shown or text) == str(bind)
    assert bind == parse_bind(str(bind))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the port is missing"),
        ("localhost", "the port is missing"),
        ("localhost:", "port '' is not a number"),
        ("localhost:http", "port 'http' is not a number"),
        ("localhost:-1", "port '-1' is not a number"),
        ("65536", "port '65536' is not a number"),
        ("127.0.0.1:70000", "port '70000' is not a number"),
        ("::1:8000", "in brackets"),
        ("[::1]", "needs its port"),
        ("[127.0.0.1]:80", "is not an IPv6 address"),
        ("[::1]:x", "port 'x' is not a number"),
        ("http://localhost:80", "in brackets"),
        ("300.1.1.1:80", "host '300.1.1.1' cannot be used"),
        ("1.2.3:80", "host '1.2.3' cannot be used"),
        ("exa mple:80", "host 'exa mple' cannot be used"),
        ("-x:80", "host '-x' cannot be used"),
        ("fd:", "a descriptor is a number"),
        ("fd:-1", "a descriptor is a number"),
        ("fd:99999999999", "a descriptor is a number"),
        ("unix:", "must name a file"),
        ("unix:/run/", "must name a file"),
        ("unix:@name", "an abstract socket has no permissions"),
        ("unix:/a\0b", "an abstract socket has no permissions"),
        ("unix:/" + "x" * 107, "is 108 bytes long, at most 107"),
        ("unix:/" + "é" * 54, "is 109 bytes long, at most 107"),
    ],
)
def test_a_bind_that_means_nothing_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bind(text)
    assert reason in str(caught.value)


def test_a_host_and_a_port_need_no_brackets() -> None:
    assert tcp_bind("::1", 80) == Bind(BindKind.TCP6, "::1", 80)
    with pytest.raises(ConfigError, match="port 65536"):
        tcp_bind("::1", 65536)


# TCP


def test_port_0_becomes_a_real_one(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0")
    port = listener.socket.getsockname()[1]
    assert f"http://127.0.0.1:{port}" == listener.url
    assert Bind(BindKind.TCP4, "127.0.0.1", port) == listener.bind
    assert answers(socket.AF_INET, ("127.0.0.1", port))


def test_the_listener_is_what_asyncio_and_workers_need(stack: ExitStack) -> None:
    (listener,) = open_listeners(
        [tcp_bind("127.0.0.1", 0)], backlog=64, uds_permissions=0o660, scheme="https"
    )
    stack.callback(listener.close)
    assert listener.url.startswith("https://127.0.0.1:")
    assert listener.socket.proto == socket.IPPROTO_TCP
    assert not listener.socket.getblocking()
    assert not os.get_inheritable(listener.fileno())
    assert listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_all_addresses_of_a_name_share_one_port(stack: ExitStack) -> None:
    listeners = listen(stack, "localhost:0")
    assert listeners
    assert len({listener.bind.port for listener in listeners}) == 1
    assert {listener.bind.host for listener in listeners} <= {"127.0.0.1", "::1"}
    for listener in listeners:
        assert answers(listener.socket.family, (listener.bind.host, listener.bind.port))


@needs_ipv6
def test_any_ipv6_address_takes_ipv4_too_and_a_certain_one_does_not(stack: ExitStack) -> None:
    everywhere, here = listen(stack, "[::]:0", "[::1]:0")
    assert f"http://[::1]:{here.bind.port}" == here.url
    assert answers(socket.AF_INET6, ("::1", everywhere.bind.port))
    assert answers(socket.AF_INET, ("127.0.0.1", everywhere.bind.port))
    assert answers(socket.AF_INET6, ("::1", here.bind.port))
    assert not answers(socket.AF_INET, ("127.0.0.1", here.bind.port))


@needs_ipv6
def test_both_wildcards_at_one_port_go_together(stack: ExitStack) -> None:
    port = free_port()
    first, second = listen(stack, f"[::]:{port}", f"0.0.0.0:{port}")
    assert answers(socket.AF_INET6, ("::1", port))
    assert answers(socket.AF_INET, ("127.0.0.1", port))
    assert (port, port) == (first.bind.port, second.bind.port)


def test_a_port_in_use_names_its_owner_and_what_to_do(stack: ExitStack) -> None:
    port = free_port()
    other = Other(stack)
    other.listen(f"127.0.0.1:{port}")
    for place in (f"127.0.0.1:{port}", f"0.0.0.0:{port}"):
        before = time.monotonic()
        with pytest.raises(AddressInUse) as caught:
            listen(stack, place)
        assert time.monotonic() - before < 2
        text = str(caught.value)
        assert text.startswith(f"{place} is in use by pid {other.process.pid} ({sys.executable} -c")
        assert text.endswith("): stop it or choose another port with --port")
        assert text.isprintable()


@needs_ipv6
def test_an_owner_is_found_through_the_other_protocol(stack: ExitStack) -> None:
    other = Other(stack)
    port = free_port()
    other.listen(f"[::]:{port}")
    with pytest.raises(AddressInUse, match=f"in use by pid {other.process.pid} "):
        listen(stack, f"127.0.0.1:{port}")


def test_a_second_bind_of_our_own_is_told_apart(stack: ExitStack) -> None:
    port = free_port()
    with pytest.raises(AddressInUse, match="this very process"):
        listen(stack, f"127.0.0.1:{port}", f"0.0.0.0:{port}")
    assert not answers(socket.AF_INET, ("127.0.0.1", port))


def test_a_listener_with_reuseport_is_in_the_way_too(stack: ExitStack) -> None:
    shared = stack.enter_context(
        socket.create_server(("127.0.0.1", 0), reuse_port=True, family=socket.AF_INET)
    )
    with pytest.raises(AddressInUse):
        listen(stack, f"127.0.0.1:{shared.getsockname()[1]}")


def test_a_port_that_is_only_held_by_a_connection_names_that_one(stack: ExitStack) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    client = stack.enter_context(socket.create_connection(server.getsockname()))
    with pytest.raises(AddressInUse, match="this very process"):
        listen(stack, f"127.0.0.1:{client.getsockname()[1]}")


def test_old_connections_do_not_keep_us_from_starting_again(stack: ExitStack) -> None:
    (first,) = listen(stack, "127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", first.bind.port)) as client:
        first.socket.setblocking(True)
        connection, _ = first.socket.accept()
        connection.close()  # the server ends it first: TIME_WAIT is on its side
        assert client.recv(1) == b""
        first.close()
    listen(stack, f"127.0.0.1:{first.bind.port}")


AS_ANOTHER_USER = """
import os, sys
from tercio.errors import CouldNotStart
from tercio.system.sockets import open_listeners, parse_bind
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_listeners([parse_bind(sys.argv[1])], backlog=64, uds_permissions=0o600)
except CouldNotStart as error:
    print(type(error).__name__, error)
"""


@needs_root
def test_an_owner_that_may_not_be_seen_is_said_to_be_so(stack: ExitStack) -> None:
    (listener,) = listen(stack, "127.0.0.1:0")
    place = f"127.0.0.1:{listener.bind.port}"
    assert (
        f"AddressInUse {place} is in use by a process of user id 0, which this user may not look "
        f"into: stop it or choose another port with --port\n"
    ) == run_python(AS_ANOTHER_USER, place)


@needs_root
@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 79,
    reason="low ports are free for all here",
)
def test_a_low_port_without_privileges_gets_advice() -> None:
    text = run_python(AS_ANOTHER_USER, "127.0.0.1:79")
    assert text.startswith("CouldNotStart 127.0.0.1:79 cannot be listened on (Permission denied)")
    assert "CAP_NET_BIND_SERVICE" in text


def test_an_address_of_another_machine_gets_advice(stack: ExitStack) -> None:
    with pytest.raises(CouldNotStart, match=r"this machine has no address 192\.0\.2\.1: .*--host"):
        listen(stack, "192.0.2.1:0")


def test_a_name_that_cannot_be_resolved_gets_advice(stack: ExitStack) -> None:
    with pytest.raises(CouldNotStart, match=r"host 'nowhere\.invalid' cannot be resolved .*--host"):
        listen(stack, "nowhere.invalid:0")


def test_of_two_simultaneous_starts_exactly_one_wins(stack: ExitStack, tmp_path: Path) -> None:
    contenders = (Other(stack), Other(stack))
    path = tmp_path / "app.sock"
    for number in range(40):
        bind = f"127.0.0.1:{free_port()}" if number % 2 else f"unix:{path}"
        if number % 4 == 0:
            leave_stale(path)
        instant = time.monotonic_ns() + 2_000_000
        for contender in contenders:
            contender.say(f"{bind} {instant}")
        outcomes = {contender: contender.answer() for contender in contenders}
        (winner,) = [one for one in contenders if outcomes[one] == "listening"]
        (loser,) = [one for one in contenders if one is not winner]
        assert outcomes[loser].startswith("in use")
        assert f"pid {winner.process.pid} " in outcomes[loser]
        winner.say("close")
        assert winner.answer() == "closed"


def test_when_one_bind_cannot_be_had_none_is_kept(stack: ExitStack, tmp_path: Path) -> None:
    busy = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    path = tmp_path / "app.sock"
    port = free_port()
    with pytest.raises(AddressInUse):
        listen(stack, f"unix:{path}", f"127.0.0.1:{port}", f"127.0.0.1:{busy.getsockname()[1]}")
    assert not path.exists()
    assert not answers(socket.AF_INET, ("127.0.0.1", port))


# Unix sockets


def leave_stale(path: Path) -> None:
    """Bind a socket and end without removing it, as a killed process does."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("permissions", [0o600, 0o660, 0o666])
def test_a_socket_file_has_exactly_the_permissions_asked_for(
    stack: ExitStack, tmp_path: Path, umask: int, permissions: int
) -> None:
    stack.callback(os.umask, os.umask(umask))
    path = tmp_path / "app.sock"
    (listener,) = listen(stack, f"unix:{path}", permissions=permissions)
    assert f"unix:{path}" == listener.url
    assert permissions == mode_of(path)
    assert umask == os.umask(umask)
    assert answers(socket.AF_UNIX, str(path))
    assert not listener.socket.getblocking()


def test_a_socket_file_is_never_wider_than_asked_at_any_instant(
    stack: ExitStack, tmp_path: Path
) -> None:
    stack.callback(os.umask, os.umask(0))
    path = tmp_path / "app.sock"
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                seen.add(mode_of(path))
            except FileNotFoundError:
                pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(100):
        (listener,) = listen(ExitStack(), f"unix:{path}", permissions=0o600)
        listener.close()
    done.set()
    watcher.join()
    assert seen <= {0o600}


def test_what_a_dead_process_left_is_replaced(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    leave_stale(path)
    assert not answers(socket.AF_UNIX, str(path))
    listen(stack, f"unix:{path}")
    assert answers(socket.AF_UNIX, str(path))


def test_a_living_socket_names_its_owner(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    other = Other(stack)
    other.listen(f"unix:{path}")
    with pytest.raises(AddressInUse) as caught:
        listen(stack, f"unix:{path}")
    text = str(caught.value)
    assert text.startswith(f"unix:{path} is in use by pid {other.process.pid} ({sys.executable}")
    assert text.endswith("): stop it or choose another path with --uds")
    other.say("close")
    assert other.answer() == "closed"
    assert not path.exists()


def test_a_socket_with_a_full_queue_is_alive(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    server.listen(0)
    while True:
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.setblocking(False)
        if client.connect_ex(str(path)) == errno.EAGAIN:
            break
    with pytest.raises(AddressInUse, match="this very process"):
        listen(stack, f"unix:{path}")


def test_a_socket_whose_first_owner_is_gone_names_who_holds_it_now(
    stack: ExitStack, tmp_path: Path
) -> None:
    path = tmp_path / "app.sock"
    source = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
if os.fork() == 0:  # calls listen() and ends: it is the one that SO_PEERCRED tells of
    sock.listen()
    os._exit(0)
os.wait()
print("listening", flush=True)
sys.stdin.read()
"""
    other = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", source, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    assert other.stdout
    assert other.stdout.readline() == "listening\n"
    with pytest.raises(AddressInUse, match=f"in use by pid {other.pid} "):
        listen(stack, f"unix:{path}")


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "dangling", "datagram"])
def test_what_is_no_listening_socket_is_never_removed(
    stack: ExitStack, tmp_path: Path, kind: str
) -> None:
    path, target = tmp_path / "app.sock", tmp_path / "target"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "symlink":
            leave_stale(target)
            path.symlink_to(target)
        case "dangling":
            path.symlink_to(target)
        case _:
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(str(path))
    before = path.lstat()
    target_was_there = target.exists()
    with pytest.raises(CouldNotStart, match="--uds") as caught:
        listen(stack, f"unix:{path}")
    assert not isinstance(caught.value, AddressInUse)
    assert os.path.samestat(before, path.lstat())
    assert target_was_there == target.exists()


def test_close_leaves_a_successors_socket_alone(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    (first,) = listen(stack, f"unix:{path}")
    path.unlink()
    (second,) = listen(stack, f"unix:{path}")
    first.close()
    assert answers(socket.AF_UNIX, str(path))
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_gets_advice(stack: ExitStack, tmp_path: Path) -> None:
    with pytest.raises(CouldNotStart, match=r"make the directory .*/missing' first"):
        listen(stack, f"unix:{tmp_path}/missing/app.sock")


@needs_root
def test_another_users_socket_is_neither_probed_nor_removed(stack: ExitStack) -> None:
    path = f"/tmp/tercio-test-{os.getpid()}.sock"
    listen(stack, f"unix:{path}", permissions=0o600)
    text = run_python(AS_ANOTHER_USER, f"unix:{path}")
    assert text.startswith(f"CouldNotStart unix:{path} belongs to user id 0 and cannot be probed")
    assert answers(socket.AF_UNIX, path)


# Descriptors of others


def test_an_inherited_listener_is_taken_over(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        address = theirs.getsockname()
        (listener,) = listen(stack, f"fd:{os.dup(theirs.fileno())}")
    assert f"http://127.0.0.1:{address[1]}" == listener.url
    assert Bind(BindKind.TCP4, *address) == listener.bind
    assert listener.socket.proto == socket.IPPROTO_TCP
    assert not listener.socket.getblocking()
    assert not os.get_inheritable(listener.fileno())
    assert answers(socket.AF_INET, address)


def test_an_inherited_unix_listener_stays_in_the_file_system(
    stack: ExitStack, tmp_path: Path
) -> None:
    path = tmp_path / "app.sock"
    theirs = stack.enter_context(socket.socket(socket.AF_UNIX))
    theirs.bind(str(path))
    theirs.listen()
    (listener,) = listen(stack, f"fd:{os.dup(theirs.fileno())}")
    assert unix_bind(str(path)) == listener.bind
    listener.close()
    assert answers(socket.AF_UNIX, str(path))


def test_what_is_no_listener_is_refused_and_left_open(stack: ExitStack) -> None:
    bound = stack.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    datagram = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    one, two = socket.socketpair()
    stack.enter_context(one), stack.enter_context(two)
    null = os.open(os.devnull, os.O_RDONLY)
    stack.callback(os.close, null)
    for fd in (bound.fileno(), datagram.fileno(), one.fileno(), null):
        with pytest.raises(ConfigError, match=f"^fd:{fd} cannot be used: descriptor {fd} is not"):
            listen(stack, f"fd:{fd}")
        os.fstat(fd)


def test_a_descriptor_that_is_not_open_is_refused(stack: ExitStack) -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    with pytest.raises(ConfigError, match="is not an open socket"):
        listen(stack, f"fd:{fd}")


def test_a_descriptor_given_twice_is_refused(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        fd = os.dup(theirs.fileno())
    with pytest.raises(ConfigError, match="given twice"):
        listen(stack, f"fd:{fd}", f"fd:{fd}")


FROM_SYSTEMD = """
import os, socket, sys
from tercio.errors import ConfigError
from tercio.system.sockets import open_listeners, parse_bind
first = socket.create_server(("127.0.0.1", 0))
second = socket.socket(socket.AF_UNIX if sys.argv[1] == "good" else socket.AF_INET)
second.bind(sys.argv[2] if sys.argv[1] == "good" else ("127.0.0.1", 0))
if sys.argv[1] == "good":
    second.listen()
wanted = [f"http://127.0.0.1:{first.getsockname()[1]}", f"unix:{sys.argv[2]}"]
saved = [os.dup(sock.detach()) for sock in (first, second)]
high = [os.dup2(fd, 100 + index) for index, fd in enumerate(saved)]
for index, fd in enumerate(high):
    os.dup2(fd, 3 + index)
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:local"}
environ["OTHER"] = "kept"
try:
    found = open_listeners([parse_bind("systemd")], backlog=1, uds_permissions=0, environ=environ)
except ConfigError as error:
    print(error)
else:
    assert wanted == [listener.url for listener in found], found
    assert [3, 4] == [listener.fileno() for listener in found]
assert environ == {"OTHER": "kept"}
"""


def test_the_sockets_of_a_systemd_unit_are_taken_over(tmp_path: Path) -> None:
    assert run_python(FROM_SYSTEMD, "good", str(tmp_path / "app.sock")) == ""


def test_a_systemd_socket_that_does_not_listen_is_refused_by_its_name() -> None:
    assert "systemd socket local cannot be used: descriptor 4" in run_python(
        FROM_SYSTEMD, "bad", ""
    )


def test_systemd_without_sockets_is_refused(stack: ExitStack) -> None:
    with pytest.raises(ConfigError, match=r"bind 'systemd' cannot be used: no sockets"):
        open_listeners([parse_bind("systemd")], backlog=1, uds_permissions=0, environ={})


# Peers


def test_the_peer_of_a_unix_connection_is_known(stack: ExitStack, tmp_path: Path) -> None:
    (listener,) = listen(stack, f"unix:{tmp_path}/app.sock")
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(f"{tmp_path}/app.sock")
    connection, _ = listener.socket.accept()
    stack.enter_context(connection)
    expected = PeerCredentials(os.getpid(), os.geteuid(), os.getegid())
    assert expected == peer_credentials(connection)
    assert expected == peer_credentials(client)
