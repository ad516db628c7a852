"""Messages between a launching program and its workers: few, small, bounded, never lost unsaid."""

import asyncio
import os
import signal

import pytest

from tercio import cluster
from tercio.cluster.post import A_SECOND, LARGEST, QUEUED, Post, pack
from tercio.errors import ControlError, MessageRefused, NotInCluster, Unencodable, ValueTooLarge
from tercio.running import Running
from tests.api.place import Place
from tests.cluster.harness import PATIENCE, Cluster

ECHO = """
import asyncio
from tercio import cluster
from tercio.errors import TercioError

cluster.worker.send_to_launcher({"imported": cluster.worker.id})

async def main(worker):
    worker.ready()
    async for message in cluster.worker.messages():
        match message:
            case {"echo": value}:
                cluster.worker.send_to_launcher({"from": worker.slot, "echo": value})
            case {"flood": count}:
                sent = 0
                try:
                    for number in range(count):
                        cluster.worker.send_to_launcher(number)
                        sent += 1
                except TercioError as error:
                    await asyncio.sleep(1.1)
                    cluster.worker.send_to_launcher({"sent": sent, "error": str(error)})
            case {"raw": count}:
                from tercio.cluster import worker as me
                for number in range(count):
                    me.post._send({"type": "letter", "body": "AQ=="})
            case "sleep":
                await asyncio.sleep(3600)
    cluster.worker.send_to_launcher("ended")
"""


async def send_often(running: Running, message: object) -> None:
    for _ in range(QUEUED + 2):
        await running.send(0, message)


CALLABLE = {"interface": "callable", "port": None}


def test_messages_go_both_ways_and_say_who_they_are_of(place: Place) -> None:
    (place.directory / "jobs.py").write_text(ECHO)
    value = {"text": "\x1b[31m", "bytes": b"\x00\xff", "list": [1, 2.5, None, True]}

    async def main() -> None:
        async with place.launch("jobs:main", **CALLABLE) as running:
            letters = running.messages()
            first = [await anext(letters) for _ in range(2)]
            assert {letter.worker for letter in first} == {"0.1", "1.1"}
            assert {str(letter.value) for letter in first} == {
                "{'imported': '0.1'}", "{'imported': '1.1'}",
            }  # fmt: skip
            for slot in (1, 0, 1):
                await running.send(slot, {"echo": value})
                letter = await anext(letters)
                assert (letter.slot, letter.incarnation) == (slot, 1)
                assert letter.value == {"from": slot, "echo": value}
            largest = b"x" * (LARGEST - 20)
            await running.send(0, {"echo": largest})
            with pytest.raises(ValueTooLarge):
                await running.send(0, {"echo": largest + b"x" * 20})
            with pytest.raises(Unencodable):
                await running.send(0, object())
            with pytest.raises(ControlError, match="no worker serves in slot 7"):
                await running.send(7, "hello")
            assert running.messages_missed == 0
        # The last ones are of workers that were told to go.
        assert [letter.value async for letter in letters][-2:] == ["ended", "ended"]

    asyncio.run(main())


def test_a_worker_that_takes_nothing_refuses_when_its_queue_is_full(place: Place) -> None:
    (place.directory / "jobs.py").write_text(ECHO)

    async def main() -> None:
        async with place.launch("jobs:main", workers=1, **CALLABLE) as running:
            await running.send(0, "sleep")
            with pytest.raises(ControlError, match="nobody has taken"):
                await send_often(running, "wait")
            # Its successor is told.
            await running.recycle(0)
            await running.send(0, {"echo": 1})
            await running.stop(now=True)

    asyncio.run(main())


def test_a_stopped_worker_is_told_of_and_does_not_hold_up_the_cluster(place: Place) -> None:
    (place.directory / "jobs.py").write_text(ECHO)

    async def main() -> None:
        async with place.launch("jobs:main", stopped_kill="0", **CALLABLE) as running:
            pid = running.workers[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            body = b"x" * (LARGEST - 20)
            tasks = [asyncio.create_task(running.send(0, body)) for _ in range(30)]
            await running.send(1, {"echo": 1})
            errors = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(error, ControlError) for error in errors)
            said = "\n".join(map(str, errors))
            assert "reads nothing" in said
            assert "has not taken the message within 5 s" in said
            os.kill(pid, signal.SIGCONT)
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await running.send(0, {"echo": 2})
                        break
                    except ControlError:  # what waited for it comes first
                        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_worker_may_send_so_many_a_second(place: Place) -> None:
    (place.directory / "jobs.py").write_text(ECHO)

    async def main() -> None:
        async with place.launch("jobs:main", workers=1, **CALLABLE) as running:
            letters = running.messages()
            assert (await anext(letters)).value == {"imported": "0.1"}
            await running.send(0, {"flood": 10 * A_SECOND})
            values = []
            async for letter in letters:
                values.append(letter.value)
                if isinstance(letter.value, dict):
                    break
            *numbers, last = values
            assert numbers == list(range(len(numbers)))
            assert isinstance(last, dict)
            assert last["sent"] == len(numbers) <= A_SECOND
            assert "use cluster.bus for more" in last["error"]

    asyncio.run(main())


def test_a_worker_that_writes_past_its_limit_is_held_back_by_the_primary(place: Place) -> None:
    (place.directory / "jobs.py").write_text(ECHO)

    async def main() -> None:
        async with place.launch("jobs:main", workers=1, **CALLABLE) as running:
            news = running.events()
            await running.send(0, {"raw": 250})
            async for event in news:
                if "its launcher" in event.text:
                    break
            # It is heard again.
            letters = running.messages()
            await running.send(0, {"echo": 1})
            async for letter in letters:
                if letter.value == {"from": 0, "echo": 1}:
                    break

    asyncio.run(main())


def test_without_a_launcher_a_worker_is_told_so(cluster: Cluster) -> None:
    cluster.write_app(
        "from tercio import cluster\n"
        "cluster.worker.send_to_launcher(1)\n"
        "async def app(scope, receive, send): pass\n"
    )
    cluster.start("-w", "1", wait="WorkerBootFailed")
    assert "NotInCluster: no program launched" in cluster.first("WorkerBootFailed")["error"]


def test_requests_that_are_no_messages_are_refused(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    for body in (None, 7, "näh", "A" * (89 * 1024), "=AAA"):
        with pytest.raises(AssertionError, match="base64"):
            cluster.ask("send", slot=0, body=body)
    with pytest.raises(AssertionError, match="whole number"):
        cluster.ask("send", slot="0", body="AQ==")
    # An application that does not listen has them in its queue.
    assert cluster.ask("send", slot=0, body="AQ==") == {"worker": "0.1"}


def test_a_post_counts_what_it_refuses_and_hands_out_what_it_has() -> None:
    post = Post()
    for number in range(QUEUED):
        assert post.deliver(pack(number)) == ""
    assert "nobody has taken" in post.deliver(pack("more"))
    assert post.refused == 1

    async def main() -> None:
        letters = post.read()
        assert [await anext(letters) for _ in range(QUEUED)] == list(range(QUEUED))
        waiting = asyncio.create_task(anext(letters))
        await asyncio.sleep(0)
        await asyncio.to_thread(post.deliver, pack("from a thread"))
        assert await waiting == "from a thread"
        post.deliver(pack("last"))
        post.close()
        assert [message async for message in letters] == ["last"]
        assert post.deliver(pack("late")) == "is leaving"

    asyncio.run(main())
    many = Post()
    while not many.deliver(pack(b"x" * (LARGEST - 20))):
        pass
    assert many.refused == 1


def test_a_limit_is_of_a_second_and_of_messages_and_bytes() -> None:
    sent: list[object] = []
    for size, most in ((1, A_SECOND), (LARGEST - 20, 15)):
        sent.clear()
        post = Post(sent.append)
        body = b"x" * size
        with pytest.raises(MessageRefused):
            _send_often(post, body)
        assert most <= len(sent) <= most + 1


def _send_often(post: Post, body: bytes) -> None:
    for _ in range(2 * A_SECOND):
        post.send(body)


def test_a_plain_process_has_no_launcher() -> None:
    with pytest.raises(NotInCluster):
        cluster.worker.send_to_launcher("hello")
