import asyncio
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tercio.errors import OffloadError
from tercio.offload.offload import Offload
from tercio.offload.places import Places
from tests.offload import work
from tests.offload.conftest import Door, MakePool, children

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def test_a_call_runs_in_another_process(make_pool: MakePool) -> None:
    pool = make_pool(2)
    assert await pool.run_within(None, work.add, 1, b=2) == 3
    assert await pool.run_within(None, work.pid) != os.getpid()
    assert await pool.run_within(None, work.Account(4).doubled) == 8
    assert pool.counters()["calls"] == 3


async def test_no_process_is_started_before_the_first_call(make_pool: MakePool) -> None:
    before = children()
    make_pool(2)
    assert children() == before


async def test_a_child_is_used_again(make_pool: MakePool) -> None:
    pool = make_pool(2)
    assert await pool.run_within(None, work.pid) == await pool.run_within(None, work.pid)


async def test_what_a_call_raises_is_raised_with_its_traceback(make_pool: MakePool) -> None:
    with pytest.raises(KeyError, match="no such") as caught:
        await make_pool(1).run_within(None, work.fail, "no such")
    assert "work.py" in caught.value.__notes__[0]


async def test_a_call_may_run_programs_and_write_to_any_descriptor(make_pool: MakePool) -> None:
    pool = make_pool(1)
    pid = await pool.run_within(None, work.pid)
    assert await pool.run_within(None, work.run_programs) == ["hello", ""]
    assert await pool.run_within(None, work.pid) == pid


async def test_an_exception_that_cannot_be_made_again_is_told(make_pool: MakePool) -> None:
    with pytest.raises(TypeError, match=r"exception of type TwoArguments .*: this and that") as e:
        await make_pool(1).run_within(None, work.fail_with_two)
    assert "fail_with_two" in e.value.__notes__[0]


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio; from tercio import cluster; from tests.offload import work\n"
        "asyncio.run(cluster.offload(work.add, 1))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "OffloadError: no process could be started for tests.offload.work.add" in done.stderr
    assert 'if __name__ == "__main__"' in done.stderr


async def test_a_call_that_exits_ends_nothing_else(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pytest.raises(OffloadError, match="the call ended by SystemExit: 3"):
        await pool.run_within(None, work.leave)
    assert await pool.run_within(None, work.add, 1) == 1


async def test_a_result_that_cannot_be_sent_is_an_error(make_pool: MakePool) -> None:
    with pytest.raises(TypeError, match="the result of type function cannot be sent back"):
        await make_pool(1).run_within(None, work.unsendable)


async def test_a_call_whose_process_dies_is_an_error_and_the_next_gets_another(
    make_pool: MakePool,
) -> None:
    pool = make_pool(1)
    with pytest.raises(OffloadError, match=r"carried out tests\.offload\.work\.die died"):
        await pool.run_within(None, work.die)
    assert await pool.run_within(None, work.add, 1) == 1
    assert pool.counters()["died"] == 1


async def test_only_importable_functions_can_be_offloaded(make_pool: MakePool) -> None:
    def inner() -> None: ...

    pool = make_pool(1)
    for function in (inner, lambda: None):
        with pytest.raises(OffloadError, match="Define it at the top of a module"):
            await pool.run_within(None, function)
    with pytest.raises(OffloadError, match=r"arguments of tests\.offload\.work\.add"):
        await pool.run_within(None, work.add, threading.Lock())  # type: ignore[arg-type]


async def test_context_variables_travel(make_pool: MakePool) -> None:
    pool = make_pool(1)
    token = work.who.set("ada")
    try:
        assert await pool.run_within(None, work.current_user) == "ada"
    finally:
        work.who.reset(token)
    # The child is the same; what one call set is not seen by the next.
    assert await pool.run_within(None, work.current_user) == "nobody"


async def test_the_environment_of_the_pool_is_that_of_its_calls(make_pool: MakePool) -> None:
    pool = make_pool(1, environ={"TERCIO_TEST_VARIABLE": "here"})
    assert await pool.run_within(None, work.variable, "TERCIO_TEST_VARIABLE") == "here"
    assert "TERCIO_TEST_VARIABLE" not in os.environ


async def test_a_call_beyond_its_time_is_killed(make_pool: MakePool, door: Door) -> None:
    pool = make_pool(1)
    await pool.run_within(None, work.add, 1)  # the child is there: the limit is the call's
    call = asyncio.create_task(pool.run_within(1.0, work.tell_and_hold, door.address, "a"))
    pid, _ = await door.meet()
    with pytest.raises(OffloadError, match="tell_and_hold was killed after 1 s"):
        await call
    assert pid not in children()
    assert pool.counters()["timed_out"] == 1


async def test_a_cancelled_call_is_killed(make_pool: MakePool, door: Door) -> None:
    pool = make_pool(1)
    call = asyncio.create_task(pool.run_within(None, work.tell_and_hold, door.address, "a"))
    pid, _ = await door.meet()
    pidfd = os.pidfd_open(pid) if sys.platform == "linux" else None
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    if pidfd is not None:
        assert await asyncio.to_thread(select.select, [pidfd], [], [], 30) != ([], [], [])
        os.close(pidfd)
    assert await pool.run_within(None, work.add, 2) == 2


async def test_no_more_than_its_size_run_at_a_time(make_pool: MakePool, door: Door) -> None:
    pool = make_pool(2)
    calls = [
        asyncio.create_task(pool.run_within(None, work.tell_and_hold, door.address, str(n)))
        for n in range(3)
    ]
    first = {(await door.meet())[1], (await door.meet())[1]}
    assert first == {"0", "1"}
    assert pool.counters()["under_way"] == 3
    assert door.is_quiet()
    door.let_go()
    assert (await door.meet())[1] == "2"
    door.let_go()
    assert len(set(await asyncio.gather(*calls))) == 2


async def test_calls_that_find_no_room_to_wait_are_refused(make_pool: MakePool, door: Door) -> None:
    pool = make_pool(1, waiting=1)
    calls = [
        asyncio.create_task(pool.run_within(None, work.tell_and_hold, door.address, str(n)))
        for n in range(2)
    ]
    await door.meet()
    with pytest.raises(OffloadError, match="2 calls are under way or wait already"):
        await pool.run_within(None, work.add, 1)
    assert pool.counters()["refused"] == 1
    door.let_go()
    await door.meet()
    door.let_go()
    await asyncio.gather(*calls)


async def test_places_are_shared_by_all_pools_of_a_cluster(
    make_pool: MakePool, door: Door, tmp_path: Path
) -> None:
    one, other = (make_pool(4, Places(str(tmp_path), 1)) for _ in range(2))
    first = asyncio.create_task(one.run_within(None, work.tell_and_hold, door.address, "first"))
    assert (await door.meet())[1] == "first"
    second = asyncio.create_task(other.run_within(None, work.tell_and_hold, door.address, "second"))
    third = asyncio.create_task(other.run_within(0.3, work.add, 1))
    with pytest.raises(OffloadError, match="killed after"):
        await third  # the place was taken all the time
    assert door.is_quiet()
    door.let_go()
    assert (await door.meet())[1] == "second"
    door.let_go()
    await asyncio.gather(first, second)


def hold_place(directory: str, pipe: int) -> None:
    assert Places(directory, 1).take() is not None
    os.write(pipe, b"x")
    threading.Event().wait()


def test_a_place_comes_back_when_its_owner_is_killed(tmp_path: Path) -> None:
    there, here = os.pipe()
    code = (
        "import sys; from tests.offload.test_pool import hold_place;"
        "hold_place(sys.argv[1], int(sys.argv[2]))"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(here)], pass_fds=[here]
    )
    assert os.read(there, 1) == b"x"
    places = Places(str(tmp_path), 1)
    assert places.take() is None
    holder.kill()
    holder.wait()
    place = places.take()
    assert place is not None
    places.give_back(place)
    os.close(there)
    os.close(here)


def test_a_place_comes_back_although_a_fork_lives_that_was_made_meanwhile(tmp_path: Path) -> None:
    places = Places(str(tmp_path), 1)
    place = places.take()
    assert place is not None
    copy = os.dup(place)  # what a fork has: another descriptor of the same open file
    places.give_back(place)
    again = places.take()
    assert again is not None
    places.give_back(again)
    os.close(copy)


async def test_children_end_when_no_call_comes(make_pool: MakePool) -> None:
    pool = make_pool(2, idle=0.05)
    pid = await pool.run_within(None, work.pid)
    if sys.platform == "linux":
        pidfd = os.pidfd_open(pid)
        assert await asyncio.to_thread(select.select, [pidfd], [], [], 30) != ([], [], [])
        os.close(pidfd)
    assert await pool.run_within(None, work.add, 1) == 1  # and start again


def test_threads_use_it_too(make_pool: MakePool) -> None:
    assert make_pool(1).run_now(None, work.add, 1, 2) == 3


async def test_a_thread_with_a_loop_is_told_to_await(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pytest.raises(RuntimeError, match="use `await"):
        pool.run_now(None, work.add, 1)
    assert await asyncio.to_thread(pool.run_now, None, work.add, 1) == 1


async def test_a_time_limit_is_said_before_the_call(make_pool: MakePool, door: Door) -> None:
    offload = Offload(make_pool(1))
    assert await offload(work.add, 1, b=2) == 3
    assert await asyncio.to_thread(offload.sync, work.add, 1, 2) == 3
    call = asyncio.create_task(offload.within(1)(work.tell_and_hold, door.address, "a"))
    await door.meet()
    with pytest.raises(OffloadError, match="killed after 1 s"):
        await call
    with pytest.raises(ValueError, match="more than 0"):
        offload.within(0)


async def test_a_closed_pool_takes_no_calls(make_pool: MakePool, door: Door) -> None:
    pool = make_pool(1)
    call = asyncio.create_task(pool.run_within(None, work.tell_and_hold, door.address, "a"))
    await door.meet()
    await asyncio.to_thread(pool.close)
    with pytest.raises((asyncio.CancelledError, OffloadError)):
        await call
    with pytest.raises(OffloadError, match="about to end"):
        await pool.run_within(None, work.add, 1)


@linux_only
def test_what_a_call_prints_goes_where_the_worker_s_output_goes() -> None:
    code = (
        "import asyncio; from tercio.offload.pool import Pool; from tests.offload import work\n"
        "pool = Pool(1); asyncio.run(pool.run_within(None, work.say, 'hello there')); pool.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("hello there\n") == 2
    assert done.stderr.count("x") == 200_000
