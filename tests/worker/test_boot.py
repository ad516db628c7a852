"""A worker boots, tells how far it came, serves when it is told to, and leaves."""

import os
import resource
import signal
from pathlib import Path

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.errors import ExitCode
from tests.worker.rig import Rig, until

pytestmark = pytest.mark.timeout(30)


def test_it_boots_serves_and_leaves(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig:
        loaded = rig.wait_for("loaded")
        assert len(loaded["fingerprint"]) == 12
        rig.serving()
        assert rig.get("/who") == (200, b"worker 3.7 2")
        rig.drain()
        assert rig.exit().code == 0
        assert rig.messages == []


def test_it_accepts_only_when_told(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig, rig.connect() as early:
        early.ask("/who")
        rig.wait_for("ready")
        rig.settle()
        assert rig.row[Field.CONNECTIONS] == 0
        rig.send(type="serve")
        assert early.answer()[0] == 200

        rig.send(type="park")
        rig.settle()
        with rig.connect() as late:
            late.ask("/who")
            early.ask("/who")  # connections go on while it is parked
            assert early.answer()[0] == 200
            assert rig.row[Field.CONNECTIONS] == 1
            rig.send(type="serve")
            assert late.answer()[0] == 200


@pytest.mark.parametrize(
    ("app", "error", "traceback"),
    [
        ("apps:ap", "module 'tests.worker.apps' has no 'ap'; callables found there: app,", ""),
        ("app:app", "no module named 'tests.worker.app' in", ""),
        ("broken:app", "ConnectionError: no database at db:5432", "broken.py"),
        ("exits:app", "SystemExit: DATABASE_URL is not set", "exits.py"),
        ("apps:HERE.x", "module 'tests.worker.apps' has no 'HERE.x'", ""),
    ],
)
def test_an_import_that_fails_is_told(app: str, error: str, traceback: str) -> None:
    with Rig(app) as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "import"
        assert error in failed["error"]
        frames = [line for line in failed["traceback"].splitlines() if "File" in line]
        assert not [frame for frame in frames if "src/tercio/" in frame or "importlib" in frame]
        assert bool(frames) == bool(traceback)
        assert not frames or traceback in frames[0]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


@pytest.mark.parametrize("app", ["says_failed", "raises", "exits"])
def test_a_start_up_that_fails_is_told(app: str) -> None:
    with Rig(f"lifespans:{app}") as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "lifespan"
        assert "the pool is empty" in failed["error"]
        assert "the pool is empty" in failed["traceback"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


@pytest.mark.parametrize("app", ["refuses", "believes_in_requests"])
def test_an_app_without_lifespan_is_served(app: str) -> None:
    with Rig(f"lifespans:{app}") as rig:
        assert rig.serving().get("/who")[0] == 200


@pytest.mark.parametrize(
    ("app", "error"),
    [
        ("is_cancelled", "CancelledError: the pool is empty"),
        ("is_cancelled_later", "CancelledError: the pool is empty"),
        ("raises_a_bare_key_error", "KeyError"),
        ("raises_an_odd_key_error", "KeyError: []"),
    ],
)
def test_no_error_of_a_start_up_is_taken_for_ours(app: str, error: str) -> None:
    with Rig(f"lifespans:{app}") as rig:
        failed = rig.wait_for("failed")
        assert (failed["stage"], failed["error"]) == ("lifespan", error)
        assert "tercio/worker" not in failed["traceback"]
        assert "lifespans.py" in failed["traceback"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_a_shut_down_that_cancels_itself_is_an_end_like_others(
    loop: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with Rig("lifespans:cancels_its_shut_down", options={"loop": loop}) as rig:
        rig.wait_for("ready")
        rig.drain()
        assert rig.exit().code == 0
    log = capfd.readouterr().err
    assert "the application's shut-down failed" in log
    assert "tercio/worker" not in log


def test_an_app_that_cancels_all_tasks_does_not_end_its_worker(loop: str) -> None:
    with Rig("lifespans:cancels_others", options={"loop": loop}) as rig:
        rig.serving()
        for _ in range(2):
            assert rig.get("/who")[0] == 200
        with rig.connect() as client:
            rig.count_accepted(1)
            rig.drain()
            client.ask("/who")  # in the middle of the drain
            assert client.answer()[0] == 200
        assert rig.exit().code == 0
        assert rig.tells() == "shut down\n"


def test_an_app_of_very_many_files_boots() -> None:
    with Rig("large:app") as rig:
        assert rig.serving().get()[0] == 200


def test_a_very_long_error_of_an_import_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIG_RAISES", "1")
    with Rig("large:app") as rig:
        failed = rig.wait_for("failed")
        assert failed["error"].startswith("ValueError: gist xxx")
        assert "large.py" in failed["traceback"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_a_very_long_error_of_a_start_up_is_told() -> None:
    with Rig("large:raises") as rig:
        assert rig.wait_for("failed")["error"].startswith("ValueError: gist xxx")
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_lifespan_on_insists() -> None:
    with Rig("lifespans:refuses", options={"lifespan": "on"}) as rig:
        assert rig.wait_for("failed")["stage"] == "lifespan"


def test_it_is_ready_once_the_path_answers_well() -> None:
    options = {"ready_path": "/readyz", "ready_timeout": 10}
    with Rig("readiness:later", options=options) as rig:
        rig.wait_for("ready")


@pytest.mark.parametrize(
    ("path", "status"), [("/readyz", "503"), ("/raises", "500"), ("/cancels", "500")]
)
def test_an_app_that_never_gets_ready_is_told(path: str, status: str) -> None:
    options = {"ready_path": path, "ready_timeout": 0.3}
    with Rig("readiness:never", options=options) as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "ready"
        assert f"GET {path} answered {status} within 0.3 s" in failed["error"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_an_app_that_cancels_its_probe_is_told(loop: str) -> None:
    with Rig("readiness:never", options={"loop": loop, "ready_path": "/cancels-its-task"}) as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "ready"
        assert "cancelled the task" in failed["error"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_a_loop_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Rig(options={"loop": "uvloop"}) as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "options"
        assert "pip install uvloop" in failed["error"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_a_factory_makes_the_app() -> None:
    with Rig("readiness:make", options={"factory": True, "lifespan": "off"}) as rig:
        rig.wait_for("ready")


def test_another_version_is_refused() -> None:
    with Rig(record={"version": "0.0.1"}) as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "version"
        assert failed["error"].startswith("Tercio was upgraded from 0.0.1 to ")
        assert failed["error"].endswith("; restart")
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_another_layout_is_refused() -> None:
    with Rig(record={"layout": 99}) as rig:
        assert rig.wait_for("failed")["stage"] == "version"


def test_term_from_outside_asks_for_a_successor(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig:
        rig.serving()
        rig.process.send_signal(signal.SIGTERM)
        assert rig.wait_for("replace")["signal"] == "SIGTERM"
        rig.process.send_signal(signal.SIGINT)
        assert rig.get()[0] == 200


def test_a_stop_is_obeyed_during_the_import() -> None:
    with Rig("endless_import:app") as rig:
        assert rig.tells() == "importing\n"
        rig.drain()
        assert rig.exit().code == 0


def test_a_stop_is_obeyed_during_the_start_up(loop: str) -> None:
    with Rig("lifespans:hangs", options={"loop": loop}) as rig:
        assert rig.tells() == "starting\n"
        rig.drain()
        assert rig.exit().code == 0


def test_it_ends_when_its_primary_is_gone() -> None:
    with Rig() as rig:
        rig.serving()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, rig.lifeline)  # closes the writing end
        os.close(null)
        assert rig.exit().signal == signal.SIGKILL


def test_kernel_limits_are_set() -> None:
    with Rig("environ:limits", record={"rlimits": {"nofile": 99, "cpu": 50}}) as rig:
        assert rig.serving().get() == (200, b"99 99 50 51")


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    with Rig("environ:limits") as rig:
        soft, hard, *_ = rig.serving().get()[1].split()
        assert soft == hard or int(soft) == 1 << 20


def test_a_worker_that_cannot_start_threads_names_the_limits() -> None:
    # No thread gets a stack of this size. (Root, as whom tests may run, has no RLIMIT_NPROC.)
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 46, hard))
    try:
        rig = Rig()
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
    with rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "limits"
        assert failed["error"].startswith(
            "the worker cannot start its threads (can't start new thread); the limits are "
        )
        assert f"stack (ulimit -s): {1 << 46}" in failed["error"]
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED


def test_an_import_may_close_its_event_loop(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIG_MEDDLES", "close the loop")
    with Rig("meddling:app", options={"loop": loop}) as rig:
        assert rig.serving().get()[0] == 200


@pytest.mark.parametrize("how", ["close all", "close and open"])
def test_an_import_that_closes_everything_is_named(
    loop: str, how: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RIG_MEDDLES", how)
    with Rig("meddling:app", options={"loop": loop}) as rig:
        assert rig.exit().code == ExitCode.WORKER_BOOT_FAILED
    log = capfd.readouterr().err
    assert "worker 3.7: the import of tests.worker.meddling:app closed descriptors" in log
    assert "Traceback" not in log


def test_the_fork_of_an_import_is_no_second_worker(
    loop: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RIG_MEDDLES", "fork")
    with Rig("meddling:app", options={"loop": loop}) as rig:
        rig.serving()
        child = int(rig.tells())
        until(lambda: has_ended(child), "the child lives")
        assert rig.get("/")[1] == str(rig.process.pid).encode()
    assert "Traceback" not in capfd.readouterr().err


def test_the_fork_of_an_import_ends_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIG_MEDDLES", "fork and exit")
    with Rig("meddling:app") as rig:
        rig.wait_for("ready")
        assert rig.tells() == "7\n"


def has_ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_an_app_without_streams_leaves_with_the_right_code() -> None:
    with Rig("silenced:app") as rig:
        rig.serving().drain()
        assert rig.exit().code == 0
