"""What the pages show is what happens."""

import asyncio
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tercio.callable import Worker
from tercio.running import Running, WorkerStatus
from tercio.running.blocking import BlockingRunning
from tercio.testing import workers
from tests.api import pages, round_trips

PAGES = [
    "sharing.md",
    "messages.md",
    "state.md",
    "offload.md",
    "sessions.md",
    "jwt.md",
    "pools.md",
    "jobs.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_print_what_it_says(page: str) -> None:
    assert pages.run(page) > 0


def test_the_table_of_values_is_what_comes_back() -> None:
    text = round_trips.PAGE.read_text()
    table = text.split(round_trips.BEGIN)[1].split(round_trips.END)[0].strip() + "\n"
    assert table == round_trips.table(), "run `python -m tests.api.round_trips`"


def test_the_tests_of_the_page_on_testing_pass(tmp_path: Path) -> None:
    assert pages.write_files("testing.md", tmp_path) == ["shop.py", "test_shop.py"]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))}
    environ["TERCIO_ALLOW_ROOT"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_every_member_on_the_page_on_the_library_is_there_with_and_without_a_loop() -> None:
    text = (pages.DOCS / "library.md").read_text()
    of_running = set(re.findall(r"\brunning\.(\w+)", text)) | {"pid", "directory"}
    members = [name for name in dir(Running) if not name.startswith("_")]
    instance = inspect.getsource(Running.__init__) + inspect.getsource(Running.start)
    assert of_running <= {*members, *re.findall(r"self\.(\w+):", instance)}
    blocking = inspect.getsource(BlockingRunning.__init__)
    found = {*dir(BlockingRunning), *re.findall(r"self\.(\w+):", blocking)}
    assert of_running <= found, "a program without a loop has the same calls"
    of_worker = set(re.findall(r"(?<!cluster\.)(?<!\.)\bworker\.(\w+)", text))
    attributes = re.findall(r"self\.(\w+)", inspect.getsource(sys.modules[Worker.__module__]))
    known = {*dir(Worker), *attributes, *WorkerStatus.__dataclass_fields__, *dir(WorkerStatus)}
    nodes = {"process", "kill", "destroy", "disconnect", "isDead", "isConnected", "send", "on",
             "exitedAfterDisconnect"}  # fmt: skip
    assert of_worker - nodes <= known


def test_the_applications_of_the_page_on_sharing_do_what_it_says(tmp_path: Path) -> None:
    assert pages.write_files("sharing.md", tmp_path) == ["naive.py", "right.py", "views.py"]
    with workers("naive:app", 3, cwd=tmp_path) as running:
        visits = [running.get_json("/a") for _ in range(30)]
        while visits.count(1) == 1:  # one worker took them all
            visits.append(running.get_json("/a"))
    assert visits.count(1) > 1
    with workers("right:app", 3, cwd=tmp_path) as running:
        assert [running.get_json("/a") for _ in range(30)] == list(range(1, 31))
        assert running.get_json("/b") == 1
    with workers("views:app", 3, cwd=tmp_path) as running:
        assert [running.get_json() for _ in range(10)] == list(range(1, 11))


def test_the_application_of_the_page_on_offload_counts_primes(tmp_path: Path) -> None:
    assert pages.write_files("offload.md", tmp_path) == ["primes.py"]
    with workers("primes:app", 2, cwd=tmp_path) as running:
        assert running.get() == b"1229"


def test_the_right_ways_of_the_problems_work_as_they_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = {}
    for question in ("q21", "q24", "q29"):
        (block,) = pages.blocks(f"problems/{question}.md")
        assert block.file == "right.py"
        namespace: dict[str, Any] = {"__name__": "right"}
        right[question] = namespace
        exec(block.text, namespace)

    async def use() -> None:
        counter, talk, sums = right["q21"], right["q24"], right["q29"]
        assert [await counter["hit"](), await counter["hit"]()] == [1, 2]
        listening = asyncio.create_task(talk["listen"]())
        await asyncio.sleep(0)  # it has subscribed
        await talk["tell"]("pen")
        while not (printed := capsys.readouterr().out):
            await asyncio.sleep(0)
        assert printed == "orders.new pen\n"
        listening.cancel()
        await sums["hit"]()
        assert await sums["total"]() == 1

    asyncio.run(use())


@pytest.mark.parametrize("question", ["q22", "q25", "q27", "q30"])
def test_the_application_of_a_problem_answers_as_it_is_shown(question: str) -> None:
    (block,) = [each for each in pages.blocks(f"problems/{question}.md") if each.file]
    namespace: dict[str, Any] = {"__name__": "right"}
    exec(block.text, namespace)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/hit", "query_string": b""}
    asyncio.run(namespace["app"](scope, None, send))
    assert [message.get("status") for message in sent] == [200, None]
    # And it is what the program does.
    program = Path(__file__).resolve().parents[2] / f"examples/problems/{question}_right.py"
    assert "from examples.problems.plain import application" in program.read_text()
