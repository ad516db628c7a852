"""The commands that talk to a running cluster."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Tercio
from tests.cli.primary import Message, always, running

READY: Message = {
    "event": {
        "sequence": 1,
        "time": 0.0,
        "kind": "WorkerReady",
        "level": "info",
        "text": "worker 0.2 is ready",
    }
}
FAILED: Message = {
    "event": {
        "sequence": 2,
        "time": 0.0,
        "kind": "ReloadRolledBack",
        "level": "error",
        "text": "rolled back",
        "traceback": "Traceback (most recent call last):\n  File 'x.py'\nKeyError: 'x'\n",
    }
}
DONE: Message = {"result": {"text": "generation 2 serves"}}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (("reload",), {"do": "reload", "wait": True}),
        (("reload", "--no-wait"), {"do": "reload", "wait": False}),
        (("scale", "8"), {"do": "scale", "to": "8", "wait": True}),
        (("scale", "+1"), {"do": "scale", "to": "+1", "wait": True}),
        (("scale", "-1", "--no-wait"), {"do": "scale", "to": "-1", "wait": False}),
        (("recycle", "2", "3"), {"do": "recycle", "slots": [2, 3], "wait": True}),
        (("recycle", "all"), {"do": "recycle", "slots": "all", "wait": True}),
        (("stop",), {"do": "stop", "now": False, "wait": True}),
        (("stop", "--now"), {"do": "stop", "now": True, "wait": True}),
        (("dump", "2"), {"do": "dump", "slot": 2}),
        (("status",), {"do": "status"}),
        (("events", "--no-follow", "--since", "7"), {"do": "events", "follow": False, "since": 7}),
        (("config", "--running"), {"do": "config"}),
    ],
)
def test_a_command_is_one_request(
    tercio: Tercio, run_dir: Path, arguments: tuple[str, ...], request_: Message
) -> None:
    with running(run_dir, "shop", always(DONE)) as primary:
        assert tercio(*arguments).exit_code == 0
    assert primary.asked == [{"version": 1, **request_}]


def test_waiting_shows_what_happens_and_how_it_ended(tercio: Tercio, run_dir: Path) -> None:
    with running(run_dir, "shop", always(READY, DONE)):
        result = tercio("reload")
    lines = result.stdout.splitlines()
    assert lines[0].endswith("info    worker 0.2 is ready")
    assert lines[1:] == ["generation 2 serves"]


def test_the_last_event_is_not_told_twice(tercio: Tercio, run_dir: Path) -> None:
    event = READY["event"]
    assert isinstance(event, dict)
    with running(run_dir, "shop", always(READY, {"result": event})):
        assert tercio("stop").stdout.count("worker 0.2 is ready") == 1


@pytest.mark.parametrize("place", ["event", "reply", "both"])
def test_a_rolled_back_reload_fails_with_its_reason_and_one_traceback(
    tercio: Tercio, run_dir: Path, place: str
) -> None:
    error: Message = {"error": "the reload was rolled back: KeyError: 'x'", "exit": 1}
    if place != "event":
        event = FAILED["event"]
        assert isinstance(event, dict)
        error["traceback"] = event["traceback"]
    messages = (error,) if place == "reply" else (FAILED, error)
    with running(run_dir, "shop", always(*messages)):
        result = tercio("reload")
    assert result.exit_code == 1
    assert result.stdout.count("    KeyError: 'x'\n") == 1
    assert result.stderr == "tercio: the reload was rolled back: KeyError: 'x'\n"


def test_json_is_whole_lines_with_the_outcome_last(tercio: Tercio, run_dir: Path) -> None:
    error: Message = {"error": "no", "exit": 2}
    with running(run_dir, "shop", always(READY, error)):
        result = tercio("scale", "9", "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [READY["event"], error]
    assert result.exit_code == 2


def test_stop_is_done_when_the_primary_is_gone_without_a_word(
    tercio: Tercio, run_dir: Path
) -> None:
    with running(run_dir, "shop", always()) as primary:

        def end(request: Message) -> Iterator[Message]:
            os.unlink(run_dir / "shop" / "control.sock")
            yield from ()

        primary.answer = end
        assert tercio("stop").exit_code == 0


def test_stop_is_not_done_while_a_primary_answers(tercio: Tercio, run_dir: Path) -> None:
    with running(run_dir, "shop", always()):
        result = tercio("stop")
    assert result.exit_code == 1
    assert "went away before it answered" in result.stderr


def test_following_ends_well_with_the_cluster(tercio: Tercio, run_dir: Path) -> None:
    with running(run_dir, "shop", always(READY)):
        result = tercio("events")
        assert result.exit_code == 0
        assert tercio("events", "--json").stdout == json.dumps(READY["event"]) + "\n"
        assert tercio("events", "--no-follow").exit_code == 1
    assert "worker 0.2 is ready" in result.stdout


def test_a_dump_is_printed_as_text(tercio: Tercio, run_dir: Path) -> None:
    with running(run_dir, "shop", always({"result": {"text": "Thread 1\n\tmain\x1b[2J\n"}})):
        assert tercio("dump", "0").stdout == "Thread 1\n\tmain\\x1b[2J\n"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"hello\n", "sent 'hello'"),
        (b"[1]\n", "sent '[1]'"),
        (b"{}\n", "sent '{}'"),
        (b'{"result"', "went away before it answered"),
        (b'{"error": "\\u001b[2Jno such slot", "exit": 1}\n', "tercio: \\x1b[2Jno such slot"),
    ],
)
def test_a_strange_primary_gets_one_clear_error(
    tercio: Tercio, run_dir: Path, answer: bytes, says: str
) -> None:
    with running(run_dir, "shop", always(answer)):
        result = tercio("status")
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupt_ends_the_waiting_and_not_the_reload(run_dir: Path) -> None:
    over = threading.Event()
    asked = threading.Event()

    def answer(request: Message) -> Iterator[Message]:
        asked.set()
        over.wait()
        yield DONE

    with running(run_dir, "shop", answer):
        process = subprocess.Popen(
            [sys.executable, "-m", "tercio", "reload", "--runtime-dir", str(run_dir)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        over.set()
    assert process.returncode == 130
    assert said.strip() == "no longer waiting; the reload goes on (see `tercio status`)"


def test_a_reader_that_had_enough_is_no_error_of_the_cluster(run_dir: Path) -> None:
    with running(run_dir, "shop", always(*[READY] * 5000)):
        process = subprocess.Popen(
            [sys.executable, "-m", "tercio", "events", "--runtime-dir", str(run_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert "worker 0.2 is ready" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == ""
        process.stderr.close()


@pytest.mark.parametrize(
    "arguments",
    [("scale", "many"), ("scale", "--1"), ("recycle", "x"), ("recycle",), ("dump", "a")],
)
def test_bad_arguments_are_refused_before_anything_is_asked(
    tercio: Tercio, run_dir: Path, arguments: tuple[str, ...]
) -> None:
    with running(run_dir, "shop", always(DONE)) as primary:
        result = tercio(*arguments)
    assert result.exit_code == 2
    assert primary.asked == []


# --- which cluster -----------------------------------------------------------------------------


def test_without_a_cluster_it_says_where_it_looked(tercio: Tercio, run_dir: Path) -> None:
    result = tercio("status")
    assert result.exit_code == 2
    assert f"no cluster is running; looked in {run_dir}" in result.stderr


def test_of_several_clusters_one_must_be_named(tercio: Tercio, run_dir: Path) -> None:
    with running(run_dir, "blog", always(DONE)), running(run_dir, "shop", always(DONE)) as shop:
        result = tercio("reload")
        assert result.exit_code == 2
        for words in ("2 clusters", "blog", "shop", f"pid {os.getpid()}", "shop:app", "--name"):
            assert words in result.stderr
        assert shop.asked == []
        assert tercio("reload", "--name", "shop").exit_code == 0
        assert tercio("reload", env={"TERCIO_NAME": "shop"}).exit_code == 0
        Path("tercio.toml").write_text("name = 'shop'\n")
        assert tercio("reload").exit_code == 0
        # A file that cannot be used does not keep anybody from looking.
        Path("tercio.toml").write_text("name = \n")
        assert tercio("status", "-n", "shop").exit_code == 0
    assert len(shop.asked) == 4


def test_an_unknown_name_lists_the_known_ones(tercio: Tercio, run_dir: Path) -> None:
    with running(run_dir, "blog", always(DONE)):
        result = tercio("status", "--name", "sh\x1bop")
    assert result.exit_code == 2
    assert "no cluster called 'sh\\x1bop' is running; there are:\n  blog  (pid" in result.stderr


def test_a_runtime_directory_can_be_named(tercio: Tercio, tmp_path: Path) -> None:
    with running(tmp_path / "other", "shop", always(DONE)):
        assert tercio("status").exit_code == 2
        assert tercio("status", "--runtime-dir", str(tmp_path / "other")).exit_code == 0
        Path("tercio.toml").write_text(f"runtime-dir = '{tmp_path}/other'\n")
        assert tercio("status", env={"TERCIO_RUNTIME_DIR": ""}).exit_code == 0
