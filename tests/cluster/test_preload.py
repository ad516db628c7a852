"""`--preload`: workers are forks of a process that has imported the application once."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.cluster.harness import DEFAULT_APP, QUICK, Cluster
from tests.cluster.history import served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking workers needs Linux")

COUNTED = """
import os
with open("imports", "a") as file:
    file.write(f"{os.getpid()}\\n")
"""


def imports(cluster: Cluster) -> list[int]:
    """The processes that have imported the application, in order."""
    return [int(line) for line in (cluster.directory / "imports").read_text().split()]


def template(cluster: Cluster) -> int:
    """The pid of the only template."""
    (found,) = cluster.status()["templates"]
    return int(found["pid"])


def parent(pid: int) -> int:
    """Whose child a process is."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_application_is_imported_once_and_workers_are_the_primarys_children(
    cluster: Cluster,
) -> None:
    cluster.write_app(COUNTED + DEFAULT_APP)
    cluster.start("-w", "3", "--preload")
    pids = cluster.pids()
    assert imports(cluster) == [template(cluster)]
    assert {parent(pid) for pid in pids.values()} == {cluster.pid}
    assert {os.getpgid(pid) for pid in pids.values()} == set(pids.values())
    assert cluster.get().text.split()[0] == "one"
    assert cluster.stop() == 0


def test_a_template_holds_no_listener(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--preload")
    inodes = {
        os.readlink(f"/proc/{template(cluster)}/fd/{fd}")
        for fd in os.listdir(f"/proc/{template(cluster)}/fd")
    }
    listening = {
        f"socket:[{line.split()[9]}]"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{cluster.port:04X}")
    }
    assert listening
    assert not inodes & listening


def test_after_a_rejected_reload_a_killed_worker_comes_back_with_the_old_code(
    cluster: Cluster,
) -> None:
    cluster.start("-w", "2", "--preload", *QUICK)
    cluster.write_app("raise RuntimeError('no good')")
    reloaded = cluster.tercio("reload")
    assert reloaded.returncode != 0
    assert "RuntimeError: no good" in reloaded.stdout + reloaded.stderr
    for slot, pid in cluster.pids().items():
        since = cluster.newest()
        os.kill(pid, signal.SIGKILL)
        cluster.wait(served(slot), since=since)
    assert {cluster.get().text.split()[0] for _ in range(20)} == {"one"}
    assert not cluster.of("FilesChanged")


def test_a_reload_loads_the_new_code_and_ends_the_old_template(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--preload", *QUICK)
    before = template(cluster)
    cluster.write_app(cluster.release("two"))
    assert cluster.tercio("reload").returncode == 0
    cluster.wait("TemplateLeft")
    assert cluster.get().text.split()[0] == "two"
    assert template(cluster) != before


def test_without_its_template_a_worker_comes_back_by_itself_and_says_so(cluster: Cluster) -> None:
    cluster.write_app(COUNTED + DEFAULT_APP)
    cluster.start("-w", "1", "--preload", *QUICK)
    os.kill(cluster.pids()[0], signal.SIGSTOP)  # so that it is not forked before we want it
    os.kill(template(cluster), signal.SIGKILL)
    cluster.wait("TemplateDied")
    os.kill(cluster.pids()[0], signal.SIGKILL)
    cluster.wait("WorkerServing", 2)
    if cluster.of("TemplateMissed"):  # else another template was ready before the worker was due
        assert cluster.pids()[0] in imports(cluster)
    cluster.wait("TemplateReady", 2)
    assert cluster.get().text.split()[0] == "one"


def test_an_import_that_fails_is_told_like_that_of_a_worker(cluster: Cluster) -> None:
    cluster.write_app("import nothing_of_this_name")
    cluster.start("-w", "2", "--preload", wait="")
    assert cluster.wait_end() == 1
    output = "\n".join(cluster.lines)
    assert "No module named 'nothing_of_this_name'" in output
    assert 'app.py", line 1' in output


def test_an_import_that_exits_is_a_failure(cluster: Cluster) -> None:
    cluster.write_app("import sys; sys.exit(0)")
    cluster.start("-w", "2", "--preload", wait="")
    assert cluster.wait_end() == 1
    assert "SystemExit: 0" in "\n".join(cluster.lines)


def test_a_thread_begun_by_the_import_is_refused_by_its_name(cluster: Cluster) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, name='poller',"
    cluster.write_app(f"{thread} daemon=True).start()\n{DEFAULT_APP}")
    cluster.start("-w", "1", "--preload", wait="")
    assert cluster.wait_end() == 1
    assert "the import started threads" in "\n".join(cluster.lines)
    assert "'poller'" in "\n".join(cluster.lines)


def test_an_event_loop_left_open_by_the_import_is_refused(cluster: Cluster) -> None:
    cluster.write_app(f"import asyncio\nleft = asyncio.new_event_loop()\n{DEFAULT_APP}")
    cluster.start("-w", "1", "--preload", wait="")
    assert cluster.wait_end() == 1
    assert "left an event loop open" in "\n".join(cluster.lines)


def test_a_connection_left_open_by_the_import_is_named(cluster: Cluster) -> None:
    cluster.write_app(
        f"import socket\nleft = socket.create_server(('127.0.0.1', 0))\n{DEFAULT_APP}"
    )
    cluster.start("-w", "1", "--preload")
    assert "sockets open" in cluster.first("TemplateWarning")["note"]


def test_chance_differs_between_workers(cluster: Cluster) -> None:
    text = DEFAULT_APP.replace("import os", "import os, random\nrandom.random()")
    cluster.write_app(text.replace("{os.getpid()}", "{os.getpid()} {random.getrandbits(128)}"))
    cluster.start("-w", "3", "--preload")
    answers = {cluster.get().text.split()[2] for _ in range(12)}
    assert len(answers) == 12


def test_what_is_kept_of_the_cluster_at_import_works_in_each_worker(cluster: Cluster) -> None:
    cluster.write_app(
        """
from tercio import cluster

state = cluster.state
jobs = cluster.state.namespace("jobs")
counted = cluster.metrics.counter("counted")

async def app(scope, receive, send):
    counted.inc()
    body = f"{await state.incr('hits')} {await jobs.incr('hits')} {cluster.worker.id}".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
    )
    cluster.start("-w", "2", "--preload", "--lifespan", "off")
    answers = [cluster.get().text.split() for _ in range(10)]
    assert [int(answer[0]) for answer in answers] == list(range(1, 11))
    assert [int(answer[1]) for answer in answers] == list(range(1, 11))
    assert {answer[2] for answer in answers} <= {"0.1", "1.1"}
    assert "counted_total 10" in cluster.tercio("metrics").stdout


def test_what_only_a_worker_has_is_refused_during_the_import(cluster: Cluster) -> None:
    cluster.write_app(f"from tercio import cluster\nSLOT = cluster.worker.slot\n{DEFAULT_APP}")
    cluster.start("-w", "1", "--preload", wait="")
    assert cluster.wait_end() == 1
    assert "cluster.worker is not known while --preload imports" in "\n".join(cluster.lines)


def test_a_stop_during_the_import_ends_at_once(cluster: Cluster) -> None:
    (cluster.directory / "reached").unlink(missing_ok=True)
    os.mkfifo(cluster.directory / "reached")
    cluster.write_app(f"open('reached', 'w').close()\nimport time; time.sleep(600)\n{DEFAULT_APP}")
    cluster.start("-w", "2", "--preload", wait="")
    with open(cluster.directory / "reached") as file:
        file.read()
    assert cluster.stop() == 0


def test_when_the_primary_is_killed_all_are_gone(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--preload")
    cluster.signal(signal.SIGKILL)
    cluster.wait_end()
    cluster.wait_no_processes()


def test_a_template_that_is_stopped_does_not_outlive_a_killed_primary(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--preload")
    os.kill(template(cluster), signal.SIGSTOP)
    cluster.signal(signal.SIGKILL)
    cluster.wait_end()
    cluster.wait_no_processes()


def test_scale_recycle_and_a_crash_fork_from_the_same_template(cluster: Cluster) -> None:
    cluster.write_app(COUNTED + DEFAULT_APP)
    cluster.start("-w", "1", "--preload", "--max-workers", "4", *QUICK)
    assert cluster.tercio("scale", "3").returncode == 0
    assert cluster.tercio("recycle", "0").returncode == 0
    since = cluster.newest()
    os.kill(cluster.pids()[1], signal.SIGKILL)
    cluster.wait("WorkerServing", since=since)
    assert len(imports(cluster)) == 1
    assert cluster.status()["templates"][0]["forked"] == 5


def test_a_template_that_does_not_answer_is_killed_and_workers_start_without_it(
    cluster: Cluster,
) -> None:
    cluster.start("-w", "1", "--preload", *QUICK)
    os.kill(template(cluster), signal.SIGSTOP)
    os.kill(cluster.pids()[0], signal.SIGKILL)
    cluster.wait("TemplateDied")
    cluster.wait("WorkerServing", 2)
    assert cluster.get().text.split()[0] == "one"
