"""Who listens where: a port belongs to one cluster, to all of its workers, and to no other."""

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import DEFAULT_APP, PATIENCE, QUICK, Cluster, is_free
from tests.cluster.look import (
    UnixConnection,
    connected,
    fetch,
    listening,
    short_directory,
    socket_fds,
    watched,
)
from tests.ports import free_port

NewCluster = Callable[[], Cluster]

TELLING_APP = "open('imported', 'w').close()\n" + DEFAULT_APP


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory for sockets."""
    with short_directory() as directory:
        yield directory


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def url_port(url: str) -> int:
    return int(url.rpartition(":")[2])


# --- one port, one cluster ---------------------------------------------------------------------


def test_a_second_cluster_on_the_port_is_refused_and_told_who_has_it(
    new_cluster: NewCluster,
) -> None:
    owner = new_cluster().start("-w", "1")
    times = []
    for _ in range(3):
        second = new_cluster()
        second.write_app(TELLING_APP)
        began = time.monotonic()
        second.start("-w", "2", "--port", str(owner.port), wait="")
        assert second.wait_end() == 1
        times.append(time.monotonic() - began)
        (message,) = filter(None, second.lines)
        assert f"127.0.0.1:{owner.port} is in use by pid {owner.pid} (" in message
        assert "tercio.primary" in message
        assert "--port" in message
        assert not (second.directory / "imported").exists()
    assert min(times) < 2
    assert max(times) < 6, "only a machine with other work may take longer"
    assert owner.get().status == 200


@pytest.mark.parametrize("option", ["--admin", "--health"])
def test_so_is_one_whose_second_port_somebody_has(new_cluster: NewCluster, option: str) -> None:
    owner = new_cluster().start("-w", "1")
    second = new_cluster()
    second.write_app(TELLING_APP)
    second.start("-w", "2", option, f"127.0.0.1:{owner.port}", wait="")
    assert second.wait_end() == 1
    (message,) = filter(None, second.lines)
    assert f"127.0.0.1:{owner.port} is in use by pid {owner.pid} (" in message
    assert not (second.directory / "imported").exists(), "no worker was started"
    assert owner.get().status == 200


def test_a_port_that_others_would_share_is_refused_too(cluster: Cluster) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        cluster.start("--port", str(other.getsockname()[1]), wait="")
        assert cluster.wait_end() == 1
        assert f"in use by pid {os.getpid()} (" in "\n".join(cluster.lines)


def test_of_two_simultaneous_starts_exactly_one_serves(new_cluster: NewCluster) -> None:
    for _ in range(4):
        port = free_port()
        both = [new_cluster(), new_cluster()]
        for cluster in both:
            cluster.write_app()
        for cluster in both:
            cluster.start("-w", "1", "--port", str(port), wait="")
        ends = {os.pidfd_open(cluster.pid): cluster for cluster in both}
        ended, _, _ = select.select(list(ends), [], [], PATIENCE)
        assert len(ended) == 1
        loser = ends[ended[0]]
        for descriptor in ends:
            os.close(descriptor)
        assert loser.wait_end() == 1
        (winner,) = (cluster for cluster in both if cluster is not loser)
        winner.follow()
        winner.wait("ClusterReady")
        assert f"in use by pid {winner.pid} (" in loser.lines[0]
        assert winner.get().status == 200
        assert winner.stop() == 0


def test_the_port_is_free_when_the_cluster_has_stopped(cluster: Cluster) -> None:
    cluster.start("-w", "2")
    port = cluster.port
    cluster.get()
    cluster.stop()
    assert is_free(port)


# --- one port, all workers ---------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="slots are SO_REUSEPORT groups")
def test_port_0_is_one_port_with_a_listener_for_each_slot(cluster: Cluster) -> None:
    cluster.start("-w", "3", "--max-workers", "5")
    slots = listening(cluster.pid)
    assert len(slots) == 5
    assert cluster.port > 0
    assert cluster.status()["listeners"] == [f"http://127.0.0.1:{cluster.port}"]
    cluster.wait_line(f"http://127.0.0.1:{cluster.port}")
    # All are inherited by all, so that what waits in one of them can be accepted by another.
    assert [slots] * 3 == [listening(pid) for pid in cluster.pids().values()]
    own = [accepts_from(pid, slots) for pid in cluster.pids().values()]
    assert [len(inodes) for inodes in own] == [1, 1, 1]
    assert len(set.union(*own)) == 3
    # The primary may look whether somebody waits; it never accepts.
    assert not connected(cluster.pid)


def test_a_listener_that_is_shared_is_accepted_from_by_all_workers(cluster: Cluster) -> None:
    cluster.start("-w", "3", "--balance", "pull")
    shared = listening(cluster.pid)
    assert len(shared) == 1
    assert [shared] * 3 == [accepts_from(pid, shared) for pid in cluster.pids().values()]
    held = {fd for fd, inode in socket_fds(cluster.pid).items() if inode in shared}
    assert not held & watched(cluster.pid)


def accepts_from(pid: int, listeners: set[str]) -> set[str]:
    """The listeners that a worker waits for. It begins when it has read that it may."""
    sockets = {fd: inode for fd, inode in socket_fds(pid).items() if inode in listeners}
    deadline = time.monotonic() + PATIENCE
    while not (found := sockets.keys() & watched(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return {sockets[fd] for fd in found}


def test_a_listener_survives_a_reload(cluster: Cluster) -> None:
    cluster.start("-w", "2", *QUICK)
    before = listening(cluster.pid)
    old = set(cluster.pids().values())
    cluster.ask("reload")
    new = set(cluster.pids().values())
    assert not old & new
    assert [before] * 3 == [listening(pid) for pid in (cluster.pid, *new)]


# --- every kind of address ---------------------------------------------------------------------


@needs_ipv6
def test_several_addresses_of_all_kinds_are_served_at_once(cluster: Cluster, short: Path) -> None:
    path = short / "app.sock"
    cluster.start(
        "-w", "2", "--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--bind", f"unix:{path}"
    )  # fmt: skip
    v4, v6, unix = cluster.status()["listeners"]
    assert v4.startswith("http://127.0.0.1:")
    assert v6.startswith("http://[::1]:")
    assert unix == f"unix:{path}"
    assert fetch(http.client.HTTPConnection("127.0.0.1", url_port(v4))).startswith("one ")
    assert fetch(http.client.HTTPConnection("::1", url_port(v6))).startswith("one ")
    assert fetch(UnixConnection(path)).startswith("one ")
    # An IPv6 address of its own takes nothing of IPv4.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", url_port(v6))).close()


@needs_ipv6
def test_the_ipv6_wildcard_serves_both_families(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--bind", "[::]:0")
    port = url_port(cluster.status()["listeners"][0])
    for host in ("127.0.0.1", "::1"):
        assert fetch(http.client.HTTPConnection(host, port)).startswith("one ")


def test_a_unix_socket_has_the_permissions_asked_for_and_goes_with_the_cluster(
    new_cluster: NewCluster, short: Path
) -> None:
    for flags, mode in (((), 0o660), (("--uds-permissions", "600"), 0o600)):
        path = short / "app.sock"
        cluster = new_cluster().start("-w", "1", "--uds", str(path), *flags)
        assert path.stat().st_mode & 0o777 == mode
        assert fetch(UnixConnection(path)).startswith("one ")
        assert cluster.stop() == 0
        assert not path.exists()


def test_a_stale_unix_path_is_replaced_and_a_live_one_is_not(
    new_cluster: NewCluster, short: Path
) -> None:
    path = short / "app.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    owner = new_cluster().start("-w", "1", "--uds", str(path))
    second = new_cluster().start("-w", "1", "--uds", str(path), wait="")
    assert second.wait_end() == 1
    assert f"pid {owner.pid} (" in second.lines[0]
    assert fetch(UnixConnection(path)).startswith("one ")


def test_what_is_no_socket_is_never_replaced(cluster: Cluster, short: Path) -> None:
    path = short / "notes.txt"
    path.write_text("precious")
    cluster.start("--uds", str(path), wait="")
    assert cluster.wait_end() == 1
    assert path.read_text() == "precious"
    assert str(path) in cluster.lines[0]


def test_only_our_own_socket_file_is_removed(cluster: Cluster, short: Path) -> None:
    path = short / "app.sock"
    cluster.start("-w", "1", "--uds", str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        assert cluster.stop() == 0
        assert path.exists()


# --- listeners of other processes --------------------------------------------------------------

LAUNCHER = """
import os, socket, sys
opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
for number in range({sockets}):
    os.dup2(opened[-1 - number].fileno(), 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS="{sockets}", LISTEN_PID=str(os.getpid() + {off}))
os.execv(sys.argv[1], sys.argv[1:])
"""


def launcher(cluster: Cluster, sockets: int = 1, off: int = 0) -> list[str]:
    """A command that does what systemd does: it opens sockets, then becomes the next command."""
    script = cluster.directory / "launcher.py"
    script.write_text(LAUNCHER.format(sockets=sockets, off=off))
    return [sys.executable, str(script)]


def test_an_inherited_descriptor_is_served(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--fd", "3", prefix=launcher(cluster))
    assert cluster.get().text.startswith("one ")


def test_what_is_no_listener_is_refused(cluster: Cluster) -> None:
    cluster.start("--fd", "0", wait="")
    assert cluster.wait_end() == 2
    (message,) = filter(None, cluster.lines)
    assert "fd:0 cannot be used: descriptor 0 is not" in message


def test_sockets_of_systemd_are_served_and_workers_do_not_see_the_variables(
    cluster: Cluster,
) -> None:
    cluster.start("-w", "2", "--bind", "systemd", prefix=launcher(cluster, sockets=2))
    urls = cluster.status()["listeners"]
    assert len(set(urls)) == 2
    for url in urls:
        assert fetch(http.client.HTTPConnection("127.0.0.1", url_port(url))).startswith("one ")
    for pid in cluster.pids().values():
        assert b"LISTEN_" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_sockets_for_another_process_are_not_taken(cluster: Cluster) -> None:
    cluster.start("--bind", "systemd", prefix=launcher(cluster, off=1), wait="")
    assert cluster.wait_end() == 2
    assert "no sockets were passed to this process (LISTEN_PID" in cluster.lines[0]


def test_systemd_is_told_of_start_reload_and_stop(cluster: Cluster, short: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short / "notify"))
        manager.settimeout(PATIENCE)
        cluster.environ |= {"NOTIFY_SOCKET": str(short / "notify"), "WATCHDOG_USEC": "500000"}

        def told(beat: bool = False) -> dict[str, str]:
            """The next notification that is a watchdog's beat, or is none."""
            while True:
                lines = manager.recv(4096).decode().splitlines()
                if beat == (lines == ["WATCHDOG=1"]):
                    return dict(line.split("=", 1) for line in lines)

        cluster.start("-w", "1", *QUICK)
        ready = told()
        assert (ready["READY"], ready["MAINPID"]) == ("1", str(cluster.pid))
        assert ready["STATUS"].startswith("all 1 workers serve")
        assert told(beat=True)
        cluster.signal(signal.SIGHUP)
        began = told()
        assert began["RELOADING"] == "1"
        assert int(began["MONOTONIC_USEC"]) > 0
        assert told()["READY"] == "1"
        # A refused one is a whole reload for systemd, or `systemctl reload` would hang.
        (cluster.directory / "tercio.toml").write_text("workers = 'many'\n")
        cluster.signal(signal.SIGHUP)
        assert told()["RELOADING"] == "1"
        refused = told()
        assert refused["READY"] == "1"
        assert "refused" in refused["STATUS"]
        cluster.signal(signal.SIGTERM)
        assert told() == {"STOPPING": "1"}
        assert cluster.wait_end() == 0


# --- what workers and their children hold ------------------------------------------------------

FORKING_APP = """
import os, time
from app import app as default

async def app(scope, receive, send):
    if scope.get("path") != "/fork":
        return await default(scope, receive, send)
    child = os.fork()
    if child == 0:
        os.setsid()  # out of the worker's group, which ends with the worker
        while True:
            time.sleep(1000)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(child).encode()})
"""


def test_what_user_code_forks_keeps_neither_the_port_nor_a_connection(cluster: Cluster) -> None:
    cluster.write_app()
    cluster.write_app(FORKING_APP, "forking.py")
    cluster.start("-w", "1", app="forking:app")
    port = cluster.port
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    client.request("GET", "/fork")
    child = int(client.getresponse().read())
    worker = cluster.pids()[0]
    try:
        assert connected(worker)
        # The clean-up runs before any code of the child's own.
        cluster.until(lambda _: os.getsid(child) == child)
        assert not listening(child)
        assert not connected(child)
        os.kill(worker, signal.SIGKILL)
        assert client.sock is not None
        try:
            assert client.sock.recv(1) == b""
        except ConnectionResetError:
            pass  # as good: the kernel took the connection away
        client.close()
        cluster.signal(signal.SIGTERM)
        assert cluster.process is not None
        assert cluster.process.wait(PATIENCE) == 0
        assert Path(f"/proc/{child}").exists()
        assert is_free(port)
    finally:
        os.kill(child, signal.SIGKILL)
    cluster.wait_no_processes()


# --- warnings ----------------------------------------------------------------------------------


def test_a_loopback_address_in_a_container_is_warned_of(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.environ["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"
    cluster.start("-w", "1")
    text = "listening on 127.0.0.1 inside a container: nobody outside can connect"
    assert text in cluster.wait(lambda event: "container" in event["text"])["text"]
    # Who asks for an address by name has a reason, such as a proxy beside it.
    chosen = new_cluster()
    chosen.environ["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"
    chosen.start("-w", "1", "--bind", "127.0.0.1:0")
    assert not any("container" in event["text"] for event in chosen.events)


def test_the_warning_of_a_port_below_1024_says_what_to_do() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody who may not")
    code = (
        "import os, sys; from tercio.system.sockets import open_listeners, parse_bind;"
        "os.setuid(65534);"
        "open_listeners([parse_bind('127.0.0.1:81')], backlog=1, uds_permissions=0o600)"
    )
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(start.read_text()) <= 81:
        pytest.skip("this machine lets everybody listen there")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ports below 1024 need privileges" in done.stderr
