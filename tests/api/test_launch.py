"""`tercio.launch`: a cluster in a program's hands, and none that outlives it."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tercio.errors import AddressInUse, ConfigError, ControlError, CouldNotStart, NoCluster
from tercio.running.feed import QUEUED, Feed
from tests.api.place import Place, port_of, states
from tests.cluster.harness import MARK, PATIENCE
from tests.cluster.load import Load
from tests.cluster.releases import release

# Changes


def test_a_reload_through_the_library_loses_no_request(place: Place) -> None:
    (place.directory / "app.py").write_text(release("r0"))

    async def main() -> None:
        async with place.launch(access_log=False) as running:
            with Load(port_of(running), fresh=4, kept=4) as load:
                await asyncio.to_thread(load.wait_for, 50)
                (place.directory / "app.py").write_text(release("r1"))
                assert await running.reload() == 2
                assert set(await asyncio.to_thread(load.wait_for, 50)) == {"r1"}
            assert load.failures == []
            assert states(running) == [(0, 2, "serving"), (1, 2, "serving")]

    asyncio.run(main())


def test_workers_are_told_after_each_change(place: Place) -> None:
    async def main() -> None:
        async with place.launch(workers=1) as running:
            assert states(running) == [(0, 1, "serving")]
            assert running.workers[0].pid in place.living()
            assert await running.scale("+1") == 2
            assert states(running) == [(0, 1, "serving"), (1, 1, "serving")]
            assert await running.recycle(1) == ("1.1",)
            assert await running.recycle() == ("0.1", "1.2")
            assert await running.scale(1) == 1
            assert [worker.id for worker in running.workers] == ["0.2"]
            assert "Worker 0.2" in await running.dump(0)
            assert (await running.status())["pid"] == running.pid

    asyncio.run(main())


def test_workers_follow_what_happens_without_us(place: Place) -> None:
    async def main() -> None:
        async with place.launch(workers=1) as running:
            news = running.events()
            pid = running.workers[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            async for event in news:
                if event.kind == "WorkerServing":
                    assert (event.worker, event.slot) == ("0.2", 0)
                    break
            async with asyncio.timeout(PATIENCE):
                while [worker.id for worker in running.workers] != ["0.2"]:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_broken_release_is_an_error_and_the_old_one_serves_on(place: Place) -> None:
    async def main() -> None:
        async with place.launch() as running:
            (place.directory / "app.py").write_text("raise ValueError('no such table')")
            with pytest.raises(ControlError, match="no such table"):
                await running.reload()
            assert states(running) == [(0, 1, "serving"), (1, 1, "serving")]
            with pytest.raises(ControlError, match="there is no slot 7"):
                await running.recycle(7)

    asyncio.run(main())


# Events


def test_events_come_in_order_from_the_start_to_the_end(place: Place) -> None:
    async def main() -> None:
        async with place.launch() as running:
            first, late = running.events(since=0), running.events()
            await running.scale(3)
        kinds = [event.kind async for event in late]
        assert kinds[0] == "Scaled"
        assert kinds[-1] == "Stopped"
        every = [event async for event in first]
        assert [event.sequence for event in every] == list(range(1, len(every) + 1))
        assert every[0].kind == "ClusterStarted"
        assert [event.kind for event in every][-len(kinds) :] == kinds
        # What has ended stays ended.
        assert [event async for event in running.events()] == []

    asyncio.run(main())


def test_a_reader_that_is_too_slow_learns_how_much_it_missed() -> None:
    async def main() -> None:
        feed = Feed[int]()
        slow, gone = feed.read(), feed.read()
        for number in range(QUEUED + 7):
            feed.put(number)
        del gone
        assert [await anext(slow) for _ in range(QUEUED)] == list(range(QUEUED))
        with pytest.raises(ControlError, match="missed 7"):
            await anext(slow)
        feed.put(-1)
        feed.end()
        assert [item async for item in slow] == [-1]

    asyncio.run(main())


# Ends


def test_a_stop_by_somebody_else_ends_events_and_requests(place: Place) -> None:
    async def main() -> None:
        async with place.launch() as running:
            news = running.events()
            os.kill(running.pid, signal.SIGTERM)
            assert await running.wait() == 0
            assert [event.kind async for event in news][-1] == "Stopped"
            with pytest.raises(NoCluster):
                await running.reload()
            assert await running.stop() == 0

    asyncio.run(main())


def test_a_primary_that_was_killed_is_told(place: Place) -> None:
    async def main() -> None:
        async with place.launch() as running:
            os.kill(running.pid, signal.SIGKILL)
            assert await running.wait() == -signal.SIGKILL
            with pytest.raises(ControlError):
                await running.status()
        shutil.rmtree(running.directory)  # nobody was left to tidy up

    asyncio.run(main())
    place.wait_until_alone()  # the kernel ends workers whose primary is gone, in its own time


def test_leaving_waits_for_requests_and_a_cancelled_leave_cuts_them(place: Place) -> None:
    (place.directory / "app.py").write_text(release("r0"))

    async def main(is_cut: bool) -> float:
        began = asyncio.get_running_loop().time()
        async with place.launch(workers=1) as running:
            with socket.create_connection(("127.0.0.1", port_of(running))) as client:
                client.sendall(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
                await asyncio.get_running_loop().run_in_executor(None, client.recv, 100)
                news = running.events()
                leaving = asyncio.create_task(running.close())
                async for event in news:
                    if event.kind == "WorkerDraining":
                        break
                began = asyncio.get_running_loop().time()
                if is_cut:
                    leaving.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await leaving
                else:
                    await leaving
                assert not place.living()
        return asyncio.get_running_loop().time() - began

    asyncio.run(main(is_cut=True))
    (place.directory / "tercio.toml").write_text('stop-timeout = "1s"')
    assert asyncio.run(main(is_cut=False)) >= 0.9


@pytest.mark.parametrize("after", [0.0, 0.02, 0.08, 0.15, 0.25, 0.4, 0.6, 0.9])
def test_cancelled_at_any_moment_nothing_is_left(place: Place, after: float) -> None:
    async def launched() -> None:
        async with place.launch() as running:
            while True:
                await running.recycle(0)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after):
                await launched()
        assert not place.living()

    asyncio.run(main())


def test_a_launching_program_that_is_killed_leaves_nothing_within_2_s(place: Place) -> None:
    program = f"""
import asyncio, tercio

async def main():
    async with tercio.launch("app:app", workers=2, port=0, cwd={str(place.directory)!r},
                             runtime_dir={str(place.directory / "run")!r}) as running:
        print(running.pid, *(worker.pid for worker in running.workers), flush=True)
        await running.wait()

asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, MARK: place.mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        line = b"INFO"
        while line.startswith(b"INFO") or b"Tercio" in line:
            line = process.stdout.readline()
        pids = list(map(int, line.split()))
        assert set(pids) < set(place.living())
        process.kill()
        killed = time.monotonic()
        place.wait_until_alone()
        while place.leftovers():
            assert time.monotonic() - killed < PATIENCE
            threading.Event().wait(0.02)
    assert time.monotonic() - killed < 2


def test_many_launches_leave_no_descriptor_thread_process_or_directory(place: Place) -> None:
    async def main() -> None:
        for _ in range(4):
            async with place.launch(workers=1) as running:
                await running.status()
            assert not place.living()
            assert not place.leftovers()
            found.append(len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")))
            with pytest.raises(CouldNotStart):
                async with place.launch("nowhere:app"):
                    pass

    found: list[int] = []
    threads = threading.active_count()
    asyncio.run(main())
    assert len(set(found)) == 1
    assert threading.active_count() == threads
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# What cannot start


def test_an_application_that_fails_at_import_raises_its_traceback(place: Place) -> None:
    (place.directory / "app.py").write_text("import nowhere_to_be_found")

    async def main() -> None:
        with pytest.raises(CouldNotStart) as caught:
            async with place.launch():
                pass
        assert "could not start (import)" in str(caught.value)
        assert "import nowhere_to_be_found\n" in str(caught.value)
        assert not place.living()

    asyncio.run(main())


def test_wrong_options_are_told_in_the_words_of_the_command_line(place: Place) -> None:
    async def main() -> str:
        with pytest.raises(ConfigError) as caught:
            async with place.launch(backlog=-1, workers="some", soak="long"):
                pass
        return str(caught.value)

    options = ["--backlog", "-1", "-w", "some", "--soak", "long"]
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "run", "app:app", *options],
        cwd=place.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"tercio: {asyncio.run(main())}\n".replace("backlog -1", "backlog '-1'")


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"wrkers": 2}, ConfigError, "there is no option 'wrkers'; did you mean 'workers'?"),
        ({"cwd": "/nowhere"}, ConfigError, "expected a directory"),
        ({"port": object()}, ConfigError, "--port"),
        ({"cwd": "/a\0b"}, ConfigError, "expected a directory"),
        ({"output": "/nowhere/log"}, ConfigError, "output '/nowhere/log': .*; No such file"),
        ({"output": "/a\0b"}, ConfigError, "output .*: it cannot be opened"),
        ({"env": {"A": 5}}, ConfigError, "env 'A': expected texts, not 5"),
        ({"env": {"A": "b\0c"}}, ConfigError, "env 'A': no variable"),
        ({"env": {"A=B": "c"}}, ConfigError, "env 'A=B': no variable"),
        ({"config": "nowhere.toml"}, ConfigError, "nowhere.toml"),
        ({"start_timeout": 0.1}, CouldNotStart, "start_timeout|start-timeout"),
        ({"timeout": 0.01}, CouldNotStart, "was not ready after 0.01 s"),
    ],
)
def test_a_launch_is_refused(
    place: Place, options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text), place.launch(**options):
        pass


def test_a_port_in_use_keeps_its_kind_of_error(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AddressInUse, match=str(port)), place.launch(port=port):
            pass


def test_a_launch_is_entered_once(place: Place) -> None:
    launched = place.launch(workers=1)
    with launched:
        pass
    with pytest.raises(RuntimeError, match="launched before"):
        launched.__enter__()


# Without an event loop


def test_a_number_of_workers_is_no_difference(place: Place) -> None:
    with place.launch(workers=2) as running:
        with pytest.raises(ControlError, match="expected how many workers"):
            running.scale(-1)
        assert len(running.workers) == 2
        assert running.scale(1) == 1
        assert running.scale("+1") == 2


def test_a_directory_may_be_given_as_bytes(place: Place) -> None:
    with place.launch(cwd=os.fsencode(place.directory)) as running:
        assert len(running.workers) == 2


def test_a_program_without_a_loop_uses_with(place: Place) -> None:
    with place.launch() as running:
        assert [worker.slot for worker in running.workers] == [0, 1]
        news = running.events()
        assert running.reload() == 2
        assert running.scale(1) == 1
        assert running.recycle(0) == ("0.2",)
        assert next(news).kind == "ReloadStarted"
        assert "Worker 0.3" in running.dump(0)
        assert running.stop() == 0
        assert [event.kind for event in news][-1] == "Stopped"


def test_importing_tercio_imports_nothing_of_it() -> None:
    code = (
        "import sys, tercio; print([m for m in ('asyncio', 'click', 'anyio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
