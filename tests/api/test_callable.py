"""Programs of `--interface callable`: they work when they are told to, and end as others do."""

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tercio
from tercio.errors import ConfigError, ControlError, CouldNotStart
from tests.api.place import Place, port_of, states

JOBS = """
import os
from pathlib import Path

RELEASE = "one"
HERE = Path(os.environ["JOBS"])

def write(worker, what):
    with open(HERE / f"{what}-{RELEASE}-{worker.id}", "a") as file:
        file.write("x")

"""

ASYNC = (
    JOBS
    + """
import asyncio

async def main(worker):
    assert worker.listeners == ()
    worker.ready()
    while await worker.takes_work():
        write(worker, "did")
        await asyncio.sleep(0.01)
    assert worker.draining.is_set()
    write(worker, "ended")
"""
)

THREADED = (
    JOBS
    + """
import time

def main(worker):
    worker.ready()
    while worker.takes_work():
        write(worker, "did")
        time.sleep(0.01)
    write(worker, "ended")
"""
)

SERVER = """
import asyncio

RELEASE = "one"

async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(f"{RELEASE} ".encode() + line)
        await writer.drain()

async def main(worker):
    worker.ready()
    await worker.serve(answer)
"""


def write(place: Place, text: str) -> None:
    (place.directory / "jobs.py").write_text(text)


def done(place: Place) -> dict[str, int]:
    """How often each worker wrote what."""
    return {path.name: path.stat().st_size for path in place.directory.glob("*-*-*")}


async def wait_for(place: Place, name: str, more_than: int = 0) -> None:
    async with asyncio.timeout(30):
        while done(place).get(name, 0) <= more_than:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _directory_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", str(tmp_path))


@pytest.mark.parametrize("text", [ASYNC, THREADED], ids=["async", "thread"])
def test_it_works_through_reload_recycling_and_scaling_and_opens_no_port(
    place: Place, text: str
) -> None:
    write(place, text)

    async def main() -> None:
        async with place.launch("jobs:main", interface="callable", port=None) as running:
            assert running.addresses == ()
            await wait_for(place, "did-one-0.1")
            write(place, text.replace('"one"', '"two"'))
            assert await running.reload() == 2
            await wait_for(place, "did-two-0.2")
            await wait_for(place, "ended-one-0.1")
            assert await running.recycle(1) == ("1.2",)
            await wait_for(place, "did-two-1.3")
            assert await running.scale(1) == 1
            assert states(running) == [(0, 2, "serving")]
        assert "ended-two-0.2" in done(place)
        assert place.directory.joinpath("output").read_text().endswith("nothing was cut\n")

    asyncio.run(main())


def test_a_failed_reload_lets_the_old_ones_work_on_and_the_new_ones_never(place: Place) -> None:
    write(place, ASYNC)

    async def main() -> None:
        async with place.launch("jobs:main", interface="callable", port=None) as running:
            broken = ASYNC.replace('"one"', '"two"').replace(
                "worker.ready()", "assert worker.slot == 0; worker.ready()"
            )
            write(place, broken)
            with pytest.raises(ControlError, match="AssertionError"):
                await running.reload()
            before = done(place)["did-one-0.1"]
            await wait_for(place, "did-one-0.1", before)
            assert not [name for name in done(place) if name.startswith("did-two")]

    asyncio.run(main())


def test_it_accepts_at_listeners_and_finishes_its_connections(place: Place) -> None:
    write(place, SERVER)

    async def main() -> None:
        async with place.launch("jobs:main", interface="callable", workers=1) as running:
            port = port_of(running)
            assert running.addresses == (f"tcp://127.0.0.1:{port}",)
            old_reader, old_writer = await asyncio.open_connection("127.0.0.1", port)
            old_writer.write(b"first\n")
            assert await old_reader.readline() == b"one first\n"
            await running.status()
            assert [worker.connections for worker in running.workers] == [1]
            write(place, SERVER.replace('"one"', '"two"'))
            assert await running.reload() == 2
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for who, where, name in ((writer, reader, "two"), (old_writer, old_reader, "one")):
                who.write(b"again\n")
                assert await where.readline() == f"{name} again\n".encode()
            news = running.events()
            old_writer.close()
            async for event in news:
                if event.kind == "WorkerLeft":
                    assert event.worker == "0.1"
                    break
            writer.close()

    asyncio.run(main())


def test_unix_sockets_are_served_as_well(place: Place) -> None:
    write(place, SERVER)
    path = place.directory / "jobs.sock"
    with (
        place.launch("jobs:main", interface="callable", port=None, bind=[f"unix:{path}"]),
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(str(path))
        client.sendall(b"hello\n")
        assert client.recv(100) == b"one hello\n"


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        ("return", "exited with 0", "returned before it was told to go"),
        ("raise ValueError('no more')", "exited with 1", "failed, .*ValueError: no more"),
        ("raise SystemExit(7)", "exited with 7", "returned before"),
    ],
)
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_end_of_its_own_ends_the_worker_and_another_one_comes(
    place: Place, kind: str, end: str, status: str, told: str
) -> None:
    wait = "await " if kind == "async def" else ""
    write(
        place,
        f"""
import time

{kind} main(worker):
    worker.ready()
    {wait}worker.takes_work()
    time.sleep(0.3)  # the start is over: it would take this end for a failure of its own
    if worker.incarnation == 1:
        {end}
    {wait}worker.draining.wait()
""",
    )

    async def main() -> None:
        launched = place.launch("jobs:main", interface="callable", port=None, workers=1)
        async with launched as running:
            said: list[str] = []
            async for event in running.events(since=0):
                said.append(event.text)
                if event.kind == "WorkerServing" and event.worker == "0.2":
                    break
            assert f"worker 0.1 died while serving: {status}" in said
            assert any(re.search(told, line) for line in said)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "limit", "text"),
    [
        ("pass", 60.0, "ended before it called worker.ready"),
        ("raise KeyError('config')", 60.0, "(?s)\\(main\\): KeyError: 'config'.*jobs.py"),
        ("import time; time.sleep(100)", 1.0, "--start-timeout"),
    ],
)
def test_who_is_never_ready_does_not_start(
    place: Place, body: str, limit: float, text: str
) -> None:
    write(place, f"def main(worker): {body}\n")
    with (
        pytest.raises(CouldNotStart, match=text),
        place.launch("jobs:main", interface="callable", port=None, start_timeout=limit),
    ):
        pass


def test_who_does_not_leave_is_cut_at_the_limit(place: Place) -> None:
    write(place, "import time\ndef main(worker):\n    worker.ready()\n    time.sleep(100)\n")
    launched = place.launch(
        "jobs:main", interface="callable", port=None, workers=1, stop_timeout=0.3
    )
    with launched as running:
        news = running.events()
        running.stop()
        assert "RequestsCut" in [event.kind for event in news]


def test_options_of_http_are_refused(place: Place) -> None:
    launched = place.launch("jobs:main", interface="callable", sticky=["ip"], ready_path="/up")
    with pytest.raises(ConfigError) as caught, launched:
        pass
    assert "--ready-path '/up': expected an application that speaks HTTP" in str(caught.value)
    assert "--sticky 'ip'" in str(caught.value)


def test_a_port_of_the_platform_is_not_for_it(place: Place) -> None:
    write(place, ASYNC)
    launched = tercio.launch(
        "jobs:main", workers=1, interface="callable", cwd=place.directory,
        runtime_dir=place.directory / "run", output=place.directory / "output",
        env={"PORT": "1"},
    )  # fmt: skip
    with launched as running:
        assert running.addresses == ()


def test_check_knows_a_callable(place: Place) -> None:
    write(place, ASYNC)
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "check", "jobs:main", "--interface", "callable"],
        cwd=place.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ok  jobs:main: a callable, the function main of jobs" in done.stdout
