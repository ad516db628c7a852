"""The control socket of a living cluster, against strangers, broken clients and slow ones."""

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.look import short_directory
from tests.cluster.programs import faulty

NewCluster = Callable[[], Cluster]

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


def converse(cluster: Cluster, *parts: bytes, end: bool = False) -> list[dict[str, Any]]:
    """Send bytes as they are, and read until the primary hangs up."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(cluster.control))
        try:
            for part in parts:
                connection.sendall(part)
        except BrokenPipeError:
            pass  # it has heard enough; its answer can be read all the same
        if end:
            connection.shutdown(socket.SHUT_WR)
        return [json.loads(line) for line in _lines(connection)]


def _lines(connection: socket.socket) -> list[bytes]:
    received = b""
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except ConnectionResetError:
        pass  # it did not read all that was sent
    return received.splitlines()


def request(do: str, **arguments: object) -> bytes:
    return json.dumps({"version": 1, "do": do, **arguments}).encode() + b"\n"


# --- who may enter -----------------------------------------------------------------------------

STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(b'{{"version": 1, "do": "stop"}}\\n')
    print(connection.makefile().read(), end="")
"""


def as_stranger(path: Path) -> "subprocess.CompletedProcess[str]":
    """Ask the cluster to stop, as another user."""
    return subprocess.run(
        [sys.executable, "-c", STRANGER.format(uid=NOBODY), str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_directory_and_the_socket_are_the_owners_alone(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    directory = cluster.control.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster.control.stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "info.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "lock").stat().st_mode) == 0o600
    assert cluster.stop() == 0
    assert not directory.exists()


@as_root
def test_another_user_is_refused_by_the_path_and_then_by_the_peer_check(cluster: Cluster) -> None:
    with short_directory() as short:
        cluster.runtime = short / "run"
        cluster.start("-w", "1")
        control = cluster.control
        first = as_stranger(control)
        assert first.stdout == ""
        assert "PermissionError" in first.stderr
        for path, mode in ((cluster.runtime, 0o755), (control.parent, 0o755), (control, 0o777)):
            path.chmod(mode)
        second = as_stranger(control)
        assert json.loads(second.stdout)["error"] == "the cluster belongs to another user"
        assert cluster.status()["state"] == "serving"
        assert cluster.stop() == 0


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_root_may_drive_the_cluster_of_another_user(cluster: Cluster) -> None:
    with short_directory() as short:
        cluster.runtime = short / "run"
        cluster.runtime.mkdir(0o700)
        os.chown(cluster.runtime, NOBODY, NOBODY)
        # The interpreter of this test may lie where only root can look: one capability lets it.
        become = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        look = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
        prefix = ["setpriv", *become, *look]
        trial = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True)
        if trial.returncode != 0:
            pytest.skip("setpriv cannot give a capability here")
        cluster.start("-w", "1", prefix=prefix)
        assert os.stat(f"/proc/{cluster.pid}").st_uid == NOBODY
        assert cluster.status()["ready"] == 1
        assert "1 of 1 workers ready" in cluster.tercio("status").stdout
        assert cluster.tercio("stop").returncode == 0
        assert cluster.wait_end() == 0


# --- what is no request ------------------------------------------------------------------------

BAD = [
    (b"\n", "not JSON"),
    (b"hello\n", "not JSON"),
    (b'{"version": 1, "do": "status"\n', "not JSON"),
    (b'\xff\xfe{"version": 1}\n', "not JSON"),
    (b"[" * 60_000 + b"\n", "not JSON"),
    (b"9" * 6000 + b"\n", "not JSON"),
    (b'["version", 1]\n', "not a JSON object"),
    (b"{}\n", "control version 1"),
    (b'{"version": 2, "do": "status"}\n', "control version 1"),
    (b'{"version": "1", "do": "status"}\n', "control version 1"),
    (request("explode"), "unknown request 'explode'"),
    (request("x" * 1000), "unknown request 'xxx"),
    (b'{"version": 1}\n', "unknown request 'None'"),
    (request("scale"), "cannot scale to 'None'"),
    (request("scale", to="many"), "cannot scale to 'many'"),
    (request("scale", to=""), "cannot scale to ''"),
    (request("scale", to="2_0"), "cannot scale to '2_0'"),
    (request("scale", to="\u0662"), "cannot scale to '\u0662'"),  # a digit, and not ours
    (request("scale", to=" 2"), "cannot scale to ' 2'"),
    (request("scale", to=2.0), "cannot scale to '2.0'"),
    (request("scale", to=0), "cannot scale to 0 workers: 1 to 16"),
    (request("scale", to="+99999"), "1 to 16 are possible (--max-workers)"),
    (request("recycle", slots=[9]), "there is no slot 9: slots are 0 to 0"),
    (request("recycle", slots=[True]), "'slots' must be a list"),
    (request("recycle", slots=[]), "no worker serves"),
    (request("recycle"), "'slots' must be a list"),
    (request("dump", slot="0"), "'slot' must be a whole number"),
    (request("dump", slot=77), "no worker lives in slot 77"),
    (request("events", since=True), "'since' must be a whole number"),
    (b"x" * 100_000, "at most 98304 bytes"),
    (b"x" * 2_000_000 + b"\n", "at most 98304 bytes"),
]


def test_what_is_no_request_gets_one_error_line_and_hurts_nobody(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    for sent, says in BAD:
        replies = converse(cluster, sent)
        assert len(replies) == 1, (sent[:80], replies)
        assert says in replies[0]["error"], sent[:80]
        assert replies[0]["exit"] == 1
    (unfinished,) = converse(cluster, b'{"version": 1', end=True)
    assert unfinished["error"] == "the request has no end: it is one line"
    chance = random.Random(24)
    for _ in range(100):
        noise = chance.randbytes(chance.randrange(1, 300)).replace(b"\n", b"") + b"\n"
        (reply,) = converse(cluster, noise)
        assert "error" in reply
    assert cluster.status()["ready"] == 1
    assert cluster.get().status == 200
    assert not any("Traceback" in line for line in cluster.lines)


def test_a_connection_is_one_request(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    assert len(converse(cluster, request("status") + request("stop"))) == 1
    # In pieces, and from a client that closes its side: both are answered.
    whole = request("status")
    (reply,) = converse(cluster, whole[:5], whole[5:20], whole[20:], end=True)
    assert reply["result"]["state"] == "serving"


# --- many, slow and vanishing clients ----------------------------------------------------------


def test_forty_clients_at_once_are_all_answered(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    try:
        for client in clients:
            client.settimeout(PATIENCE)
            client.connect(str(cluster.control))
        for number, client in enumerate(clients):
            # Half of them stay to follow the events.
            client.sendall(request("status") if number % 2 else request("events", since=0))
        for number, client in enumerate(clients):
            line = json.loads(client.makefile("rb").readline())
            assert ("result" if number % 2 else "event") in line
        assert cluster.status()["ready"] == 1
    finally:
        for client in clients:
            client.close()


def test_beyond_the_bounds_clients_are_told_and_the_cluster_serves(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    with ExitStack() as stack:

        def connect(*sent: bytes) -> BinaryIO:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE)
            client.connect(str(cluster.control))
            for part in sent:
                client.sendall(part)
            return stack.enter_context(client.makefile("rb"))

        # Followers stay. They have their own bound, and leave room for everybody else.
        error = ""
        while not error:
            assert cluster.status()["ready"] == 1
            error = json.loads(connect(request("events", since=0)).readline()).get("error", "")
        assert error == "32 clients follow the events already"
        assert converse(cluster, request("events", follow=False))[-1]["result"]["newest"] > 0
        # Clients that say nothing take the other places, for as long as a request may take.
        silent = [connect() for _ in range(64)]
        refused = json.loads(silent[-1].readline())
        assert refused["error"] == "64 clients are connected already"
        assert cluster.get().status == 200
    # Their places are free again as soon as the primary has seen them go.
    while "64 clients" in str(replies := converse(cluster, request("status"))):
        pass
    assert replies[0]["result"]["ready"] == 1


EVENTS = 2000
"""More than the kernel's buffers, the primary's and its queue for one client hold together."""


def test_a_client_that_reads_nothing_costs_only_itself(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    # Each refused reload is one event.
    (cluster.directory / "tercio.toml").write_text(f"workers = '{'x' * 90}'\n")
    with socket.socket(socket.AF_UNIX) as lazy:
        lazy.settimeout(PATIENCE)
        lazy.connect(str(cluster.control))
        lazy.sendall(request("events", since=0))
        before = cluster.newest()
        for _ in range(EVENTS):
            (reply,) = converse(cluster, request("reload", wait=False))
            assert "reload refused" in reply["error"]
        assert cluster.get().status == 200
        # Who reads, missed nothing; who did not is told how much, and is let go.
        cluster.wait(lambda event: event["sequence"] >= before + EVENTS)
        sequences = [event["sequence"] for event in cluster.events]
        assert sequences == list(range(1, len(sequences) + 1))
        last = json.loads(_lines(lazy)[-1])
        assert "this client reads too slowly" in last["error"]
    # More than a kernel buffer of old events reaches who does read.
    replies = converse(cluster, request("events", since=0, follow=False))
    assert len(replies) == 1001
    assert replies[-1] == {"result": {"newest": replies[-2]["event"]["sequence"]}}


def test_a_client_that_leaves_does_not_stop_its_reload(cluster: Cluster) -> None:
    cluster.start("-w", "2", *QUICK)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(cluster.control))
        client.sendall(request("reload", wait=True))
        assert json.loads(client.makefile("rb").readline())["event"]["kind"] == "ReloadStarted"
    cluster.wait("ReloadCommitted")
    assert cluster.status()["generation"] == 2


def test_a_refusal_of_one_client_does_not_end_the_wait_of_another(cluster: Cluster) -> None:
    cluster.start("-w", "2", *QUICK)
    outcome: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: outcome.append(cluster.ask("reload")))
    waiting.start()
    cluster.wait("ReloadStarted")
    (cluster.directory / "tercio.toml").write_text("workers = 'many'\n")
    (refused,) = converse(cluster, request("reload"))
    assert "tercio.toml:1: workers = 'many'" in refused["error"]
    waiting.join(PATIENCE)
    assert outcome == [{"request": 1, "generation": 2}]


def test_events_are_numbered_and_can_be_taken_up_again(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK)
    first = list(cluster.converse("events", since=0, follow=False))
    sequences = [reply["event"]["sequence"] for reply in first[:-1]]
    assert sequences == list(range(1, len(sequences) + 1))
    assert first[-1]["result"] == {"newest": sequences[-1]}
    follower = cluster.converse("events", since=sequences[-1], follow=True)
    kinds: list[str] = []

    def follow() -> None:
        kinds.extend(reply["event"]["kind"] for reply in follower if "event" in reply)

    following = threading.Thread(target=follow)
    following.start()
    cluster.ask("scale", to="+1")
    rest = list(cluster.converse("events", since=sequences[-1], follow=False))
    assert rest[0]["event"]["kind"] == "Scaled"
    cluster.stop()
    following.join(PATIENCE)
    assert kinds[0] == "Scaled"
    assert kinds[-1] == "Stopped"


# --- the commands ------------------------------------------------------------------------------


def test_every_command_works_against_a_live_cluster(cluster: Cluster) -> None:
    cluster.start("-w", "2", *QUICK)
    follower = subprocess.Popen(
        [sys.executable, "-m", "tercio", "events", "--runtime-dir", str(cluster.runtime)],
        cwd=cluster.directory,
        env=cluster.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.kill(cluster.pids()[1], signal.SIGKILL)
    cluster.wait("WorkerDied")
    cluster.until(lambda status: bool(status["ready"] == 2))

    status = _good(cluster, "status").splitlines()
    assert "2 of 2 workers ready · generation 1 · up " in status[0]
    assert status[0].endswith(f"pid {cluster.pid}")
    assert f"http://127.0.0.1:{cluster.port} · tercio · embedded · tercio " in status[1]
    assert status[1].endswith(str(cluster.control.parent))
    table = next(index for index, line in enumerate(status) if line.startswith("SLOT"))
    for column in (
        "SLOT", "PID", "GENERATION", "STATE", "UPTIME", "RESTARTS", "REQUESTS", "CPU", "MEMORY",
        "LAST ERROR",
    ):  # fmt: skip
        assert column in status[table]
    slot, pid, generation, state, _, restarts, *_ = status[table + 2].split()
    assert (slot, pid) == ("1", str(cluster.pids()[1]))
    assert (generation, state, restarts) == ("1", "serving", "1")
    assert status[table + 2].endswith("killed by SIGKILL")
    whole = json.loads(_good(cluster, "status", "--json"))
    assert whole["workers"][1]["memory_bytes"] > 1_000_000
    assert whole["slots"][1]["reasons"]

    old = set(cluster.pids().values())
    progress = _good(cluster, "reload")
    assert "reload to generation 2 is done" in progress
    assert not old & set(cluster.pids().values())
    said = _good(cluster, "scale", "+1").splitlines()
    assert said[-1] == "3 of 3 workers are ready"
    assert len(cluster.pids()) == 3
    before = cluster.pids()
    replaced = json.loads(_good(cluster, "recycle", "2", "--json").splitlines()[-1])
    assert replaced["result"]["replaced"] == ["2.1"]
    after = cluster.pids()
    assert (before[0], before[1]) == (after[0], after[1])
    assert before[2] != after[2]
    dump = _good(cluster, "dump", "0")
    assert "Thread MainThread" in dump
    assert _good(cluster, "config", "--running", "--show-origin").count("\nworkers = 2") == 1
    assert "_TERCIO_COMPLETE" in _completion()
    events = _good(cluster, "events", "--no-follow", "--since", "5").splitlines()
    assert len(events) == cluster.newest() - 5

    _bad(cluster, "cannot scale to 99 workers: 1 to 16", "scale", "99")
    _bad(cluster, "there is no slot 9", "recycle", "9")
    _bad(cluster, "no worker lives in slot 77", "dump", "77")

    stopping = _good(cluster, "stop")
    assert stopping.splitlines()[-1].endswith("stopped; nothing was cut")
    assert cluster.wait_end() == 0
    followed, _ = follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0
    assert followed.splitlines()[-1].endswith("stopped; nothing was cut")
    gone = cluster.tercio("status")
    assert gone.returncode == 2
    assert "no cluster is running; looked in" in gone.stderr


def test_a_scale_that_cannot_boot_says_why_and_the_others_serve_on(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK)
    cluster.write_app("raise RuntimeError('no database')\n")
    done = cluster.tercio("scale", "2")
    assert done.returncode == 1
    assert "RuntimeError: no database; it is tried again" in done.stderr
    assert cluster.get().status == 200
    assert cluster.tercio("scale", "1").returncode == 0


# What a new worker does at import, and what is said of it. The first two die without a word.
DEATHS = [
    ("os._exit(3)", "exited with 3"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
    ("time.sleep(1000)", "was not loaded after 3 s (--start-timeout)"),
]


def test_a_worker_that_dies_without_a_word_ends_the_wait_for_it(cluster: Cluster) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", *QUICK, "--start-timeout", "3", "--breaker-deaths", "1000")
    for code, says in DEATHS:
        cluster.write_app(faulty(code))
        done = cluster.tercio("scale", "2")
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
        # The number is what it was told to be already, and the slot still cannot start.
        done = cluster.tercio("scale", "2")
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
        assert cluster.tercio("scale", "1").returncode == 0
    cluster.write_app(faulty("os._exit(3)"))
    done = cluster.tercio("recycle", "0")
    assert done.returncode == 1
    assert "exited with 3; the old worker serves on" in done.stderr
    assert cluster.get().status == 200


def test_while_the_breaker_is_open_nobody_waits_for_a_start(cluster: Cluster) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", *QUICK, "--breaker-deaths", "1", "--probe-interval", "600")
    cluster.write_app(faulty("os._exit(3)"))
    assert cluster.tercio("scale", "2").returncode == 1
    cluster.wait("BreakerOpened")
    for words in (("scale", "2"), ("scale", "3"), ("recycle", "0")):
        done = cluster.tercio(*words)
        assert done.returncode == 1
        assert "starts are held back after 1 early deaths" in done.stderr
    shown = cluster.status()
    waits = [slot["next_start_in"] for slot in shown["slots"]]
    assert 0 < shown["breaker"]["next_probe_in"] <= waits[1] == waits[2] <= 600
    assert waits[0] == 0.0
    # What needs no start is done, although the worker that stays waits to be replaced.
    assert shown["slots"][0]["reasons"] == ["asked for by `tercio recycle`"]
    assert cluster.tercio("scale", "1").returncode == 0


SLOW_APP = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await asyncio.sleep(1000)
"""


def test_of_several_clusters_the_named_one_is_stopped_at_once(new_cluster: NewCluster) -> None:
    slow, other, third = (new_cluster() for _ in range(3))
    other.runtime = third.runtime = slow.runtime
    slow.write_app(SLOW_APP, "slow.py")
    slow.start("-w", "1", "--name", "slow", app="slow:app")
    other.start("-w", "1", "--name", "other", wait="")
    other.wait_line("all 1 workers serve")
    ambiguous = slow.tercio("status")
    assert ambiguous.returncode == 2
    assert "2 clusters are running; choose one with --name" in ambiguous.stderr
    assert "other · serving" in slow.tercio("status", "--name", "other").stdout
    third.start("--name", "other", wait="")
    assert third.wait_end() == 1
    assert f"cluster 'other' is already run by pid {other.pid} (" in third.lines[0]
    with socket.create_connection(("127.0.0.1", slow.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"begun" not in received:
            received += client.recv(4096)
        done = slow.tercio("stop", "--now", "--name", "slow")
        assert done.returncode == 0, done.stderr
    assert slow.wait_end() == 143
    assert "other · serving" in slow.tercio("status").stdout


UNTIL_DISCONNECT = SLOW_APP.replace(
    "await asyncio.sleep(1000)",
    "while (await receive())['type'] != 'http.disconnect':\n        pass",
)


def test_a_second_stop_joins_the_first_and_cuts_nothing(cluster: Cluster) -> None:
    cluster.write_app(UNTIL_DISCONNECT)
    cluster.start("-w", "1", "--stop-timeout", "600")
    with socket.create_connection(("127.0.0.1", cluster.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"begun" not in received:
            received += client.recv(4096)
        _good(cluster, "stop", "--no-wait")
        cluster.wait("WorkerDraining")
        _good(cluster, "stop", "--no-wait")
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(cluster.control))
        waiting.sendall(request("stop"))
        assert cluster.status()["state"] == "stopping"
        assert cluster.status()["workers"][0]["phase"] == "draining"
    with waiting:
        last = json.loads(_lines(waiting)[-1])
    assert last["result"]["text"] == "stopped; nothing was cut"
    assert "StopForced" not in cluster.kinds()
    assert cluster.wait_end() == 0


def _completion() -> str:
    return subprocess.check_output(
        [sys.executable, "-m", "tercio", "completion", "bash"], text=True, timeout=PATIENCE
    )


def _good(cluster: Cluster, *arguments: str) -> str:
    done = cluster.tercio(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def _bad(cluster: Cluster, says: str, *arguments: str) -> None:
    done = cluster.tercio(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("tercio: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
