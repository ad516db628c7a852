"""Hooks of workers: their order, their failures, their time. And agents by environment."""

import json
import os
import signal

import pytest

from tests.cluster.harness import QUICK, Cluster

APP = """
import events
events.note("import")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        events.note("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        events.note("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    events.note("probe" if scope["path"] == "/ready" else "request")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one 1"})
"""

# One line a call, whole: O_APPEND.
EVENTS = """
import asyncio, json, os, threading, time

def note(what, **more):
    line = json.dumps({"pid": os.getpid(), "what": what, **more}) + "\\n"
    path = os.path.join(os.path.dirname(__file__), "notes")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)

def _told(worker):
    return {"slot": worker.slot, "generation": worker.generation, "reason": worker.reason,
            "is_me": worker.pid == os.getpid(), "cluster": worker.cluster,
            "is_main": threading.current_thread() is threading.main_thread()}

def start(worker): note("start", **_told(worker))
async def astart(worker): note("astart", **_told(worker))
def ready(worker): note("ready", **_told(worker))
async def aready(): note("aready")
def drain(worker): note("drain", **_told(worker))
async def leave(worker): note("exit", **_told(worker))

def fail(worker): raise ValueError("the reason")
def leave_python(): raise SystemExit(3)
async def hang(): await asyncio.sleep(3600)
def hang_in_thread(): time.sleep(3600)
async def cancel(): asyncio.current_task().cancel(); await asyncio.sleep(1)
not_callable = 7
"""

ALL = (
    "--on-worker-start", "events:start", "--on-worker-start", "events:astart",
    "--on-worker-ready", "events:ready", "--on-worker-ready", "events:aready",
    "--on-worker-drain", "events:drain", "--on-worker-exit", "events:leave",
)  # fmt: skip
BEGIN = ["import", "start", "astart", "startup", "probe", "ready", "aready"]


def write(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.write_app(EVENTS, "events.py")


def notes(cluster: Cluster) -> list[dict[str, object]]:
    return [json.loads(line) for line in (cluster.directory / "notes").read_text().splitlines()]


def life(cluster: Cluster, pid: int) -> list[object]:
    """What one worker noted, in its order."""
    return [note["what"] for note in notes(cluster) if note["pid"] == pid]


def test_hooks_are_called_in_the_order_of_a_workers_life(cluster: Cluster) -> None:
    write(cluster)
    cluster.start("-w", "1", "--ready-path", "/ready", *ALL, *QUICK)
    first = cluster.pids()[0]
    cluster.get()
    assert cluster.ask("reload", wait=True)["generation"] == 2
    second = cluster.pids()[0]
    assert cluster.stop() == 0
    assert life(cluster, first) == [*BEGIN, "request", "drain", "shutdown", "exit"]
    assert life(cluster, second) == [*BEGIN, "drain", "shutdown", "exit"]
    told = {(note["pid"], note["what"]): note for note in notes(cluster)}
    start = told[first, "start"]
    assert (start["slot"], start["generation"], start["is_me"]) == (0, 1, True)
    assert (start["cluster"], start["is_main"], start["reason"]) == ("app", True, "")
    assert not told[first, "drain"]["is_main"]
    assert told[first, "drain"]["reason"] == told[first, "exit"]["reason"] == "reload"
    assert (told[second, "start"]["generation"], told[second, "exit"]["reason"]) == (2, "stop")


def test_with_preload_the_order_is_the_same_and_the_import_is_the_templates(
    cluster: Cluster,
) -> None:
    write(cluster)
    cluster.start("-w", "1", "--preload", "--ready-path", "/ready", *ALL, *QUICK)
    [template] = [each["pid"] for each in cluster.status()["templates"]]
    first = cluster.pids()[0]
    cluster.get()
    assert cluster.ask("reload", wait=True)["generation"] == 2
    assert cluster.stop() == 0
    assert life(cluster, template) == ["import"]
    assert life(cluster, first) == [*BEGIN[1:], "request", "drain", "shutdown", "exit"]
    told = {(note["pid"], note["what"]): note for note in notes(cluster)}
    assert told[first, "start"]["is_me"], "it is who it will be, not who it was forked from"


CALLABLE = """
import events
events.note("import")

async def main(worker):
    events.note("main")
    worker.ready()
    while await worker.takes_work():
        await worker.draining.wait()
    events.note("end")
"""


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["plain", "preload"])
def test_a_program_that_is_no_application_has_the_same_hooks(
    cluster: Cluster, more: tuple[str, ...]
) -> None:
    cluster.write_app(EVENTS, "events.py")
    cluster.write_app(CALLABLE)
    options = ("--interface", "callable", "--port", "0", *more, *ALL, *QUICK)
    cluster.start("-w", "1", *options, app="app:main")
    worker = cluster.pids()[0]
    assert cluster.stop() == 0
    began = [*(() if more else ["import"]), "start", "astart", "main", "ready", "aready"]
    *lived, drain, end, last = life(cluster, worker)
    assert lived == began
    assert {drain, end} == {"drain", "end"}, "the program is told at the same moment"
    assert last == "exit"


def test_a_start_hook_that_fails_fails_the_boot_and_a_reload_is_rolled_back(
    cluster: Cluster,
) -> None:
    write(cluster)
    (cluster.directory / "tercio.toml").write_text('on-worker-exit = ["events:leave"]\n')
    cluster.start("-w", "1", *QUICK)
    kept = cluster.pids()
    (cluster.directory / "tercio.toml").write_text(
        'on-worker-start = ["events:fail"]\non-worker-exit = ["events:leave"]\n'
    )
    with pytest.raises(AssertionError, match="ValueError: the reason"):
        cluster.ask("reload", wait=True)
    failed = cluster.wait("WorkerBootFailed")
    assert failed["stage"] == "hook"
    assert "in fail" in failed["traceback"]
    assert "tercio/worker" not in failed["traceback"]
    assert cluster.pids() == kept
    # What half of a start has made is cleaned up.
    exits = [note for note in notes(cluster) if note["what"] == "exit"]
    assert [note["reason"] for note in exits] == ["failed"]


@pytest.mark.parametrize("hook", ["events:fail", "events:leave_python", "events:cancel"])
def test_other_hooks_that_fail_are_logged_and_counted_and_the_worker_goes_on(
    cluster: Cluster, hook: str
) -> None:
    write(cluster)
    names = ("--on-worker-ready", "--on-worker-drain", "--on-worker-exit")
    options = [part for name in names for part in (name, hook)]
    # The hooks behind a failed one are called all the same.
    cluster.start("-w", "1", *options, *ALL, *QUICK)
    pid = cluster.pids()[0]
    assert cluster.get().status == 200
    warning = cluster.wait("WorkerWarning")
    assert f"--on-worker-ready {hook}" in warning["text"]
    assert "tercio_hook_errors_total 1" in cluster.tercio("metrics").stdout
    assert cluster.stop() == 0
    assert life(cluster, pid)[-3:] == ["drain", "shutdown", "exit"]
    said = "\n".join(cluster.lines)
    for name in names:
        assert f"{name} {hook}" in said
    assert f"hook {hook} failed" in said


@pytest.mark.parametrize("hook", ["events:hang", "events:hang_in_thread"])
def test_a_hook_that_hangs_holds_nothing_for_longer_than_its_time(
    cluster: Cluster, hook: str
) -> None:
    write(cluster)
    options = ["--on-worker-ready", hook, "--on-worker-drain", hook, "--on-worker-exit", hook]
    cluster.start("-w", "1", *options, "--hook-timeout", "300ms", *ALL, *QUICK)
    pid = cluster.pids()[0]
    assert cluster.stop() == 0
    assert "WorkerKilled" not in cluster.kinds()
    assert "took longer than 0.3 s" in "\n".join(cluster.lines)
    assert life(cluster, pid)[-3:] == ["drain", "shutdown", "exit"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("events:no_such", "'events' has no 'no_such'"),
        ("no_such:hook", "no module named 'no_such'"),
        ("events:not_callable", "it is a int, not a function"),
    ],
)
def test_a_wrong_name_is_found_at_the_boot_not_at_the_end(
    cluster: Cluster, name: str, reason: str
) -> None:
    write(cluster)
    cluster.start("-w", "1", "--on-worker-exit", name, wait="")
    assert cluster.wait_end() == 1
    assert f"--on-worker-exit {name}: {reason}" in "\n".join(cluster.lines)


def test_what_is_no_name_of_a_function_is_a_configuration_error(cluster: Cluster) -> None:
    cluster.start("--on-worker-start", "events", wait="")
    assert cluster.wait_end() == 2


# What Datadog's, New Relic's and OpenTelemetry's start programs do: a directory with a
# sitecustomize in front of PYTHONPATH.
AGENT = """
import atexit, os, sys, threading, time

_spans = []

def _say(what):
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "agent")
    with open(path, "a") as file:
        file.write(f"{os.getpid()} {what} {' '.join(sys.orig_argv)}\\n")

def _flush():
    _say("flush")

_say("begin")
atexit.register(_flush)
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
"""


def test_an_agent_lives_in_workers_flushes_at_their_ends_and_never_meets_the_primary(
    cluster: Cluster,
) -> None:
    agent = cluster.directory / "agents"
    agent.mkdir()
    (agent / "sitecustomize.py").write_text(AGENT)
    cluster.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(agent), os.environ.get("PYTHONPATH", "")])
    )
    cluster.start("-w", "2", *QUICK)
    workers = {*cluster.pids().values()}
    assert cluster.ask("recycle", slots=[0], wait=True)
    workers |= {*cluster.pids().values()}
    assert len(workers) == 3
    cluster.ask("scale", to="1", wait=True)
    assert cluster.stop() == 0
    said = (cluster.directory / "agent").read_text().splitlines()
    begun = {int(line.split()[0]) for line in said if " begin " in line and "tercio.worker" in line}
    flushed = [int(line.split()[0]) for line in said if " flush " in line]
    assert begun == workers
    assert sorted(flushed) == sorted(workers)
    # `tercio run` itself is an ordinary program, and then becomes the primary without it.
    assert not [line for line in said if "tercio.primary" in line]
    agents_of_primary = [line for line in said if line.startswith(f"{cluster.pid} ")]
    assert [line.split()[1] for line in agents_of_primary] == ["begin"]


def test_an_agents_last_words_are_said_when_a_worker_is_told_to_leave_from_outside(
    cluster: Cluster,
) -> None:
    write(cluster)
    program = "import atexit, events\natexit.register(events.note, 'atexit')\n"
    cluster.write_app(program + APP)
    cluster.start("-w", "1", *ALL, *QUICK)
    pid = cluster.pids()[0]
    os.kill(pid, signal.SIGTERM)
    cluster.wait("WorkerLeft")
    assert life(cluster, pid)[-3:] == ["shutdown", "exit", "atexit"]
