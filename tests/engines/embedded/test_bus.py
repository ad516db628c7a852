"""The bus of shared memory with real processes, signals and deaths."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tercio.bus.bus import Bus
from tercio.dataplane.frames import HEADER, RUN
from tercio.dataplane.rings import Rings
from tercio.engines.embedded.bus import EmbeddedBus
from tests.bus.conftest import PATIENCE, take, until
from tests.cluster.chaos.tiers import trials
from tests.engines.embedded.members import Member

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[False, True], ids=["in order", "careful"])
def rings(request: pytest.FixtureRequest) -> Iterator[Rings]:
    made = Rings.create(6, 4 << 20, careful=request.param)
    yield made
    made.close()


def anonymous(pid: int) -> int:
    """Bytes of a process' own memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def wait_stopped(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.001)


def until_all_came(member: Member, count: int) -> dict[str, int]:
    """Ask until everything was delivered or is known to be lost."""
    deadline = time.monotonic() + PATIENCE
    while True:
        report: dict[str, int] = member.ask()
        if report["delivered"] + report["gaps"] >= count:
            return report
        assert time.monotonic() < deadline, report


def test_processes_get_each_others_messages_in_order(rings: Rings) -> None:
    with (
        Member("publish_numbers", rings, 0, "a", 5000, 100, 0) as one,
        Member("publish_numbers", rings, 1, "b", 5000, 100, 0) as two,
        Member("count_numbers", rings, 2, "a") as first,
        Member("count_numbers", rings, 3, "b") as second,
    ):
        for member in (one, two, first, second):
            assert member.hear() == "ready"
        for publisher in (one, two):
            assert publisher.ask("go") == "done"
        for consumer in (first, second):
            report = until_all_came(consumer, 5000)
            assert report["disorder"] == 0
            assert report["last"] == 4999


@ONLY_LINUX
def test_a_stopped_consumer_costs_its_publisher_and_the_others_nothing(rings: Rings) -> None:
    count = 2000
    with (
        Member("publish_numbers", rings, 0, "a", count, 10_000, 1000) as publisher,
        Member("count_numbers", rings, 1, "a") as healthy,
        Member("count_numbers", rings, 2, "a") as stopped,
    ):
        for member in (publisher, healthy, stopped):
            assert member.hear() == "ready"
        os.kill(stopped.pid, signal.SIGSTOP)
        wait_stopped(stopped.pid)
        before = anonymous(publisher.pid)
        assert publisher.ask("go") == "done"
        grown = anonymous(publisher.pid) - before
        os.kill(stopped.pid, signal.SIGCONT)
        well = until_all_came(healthy, count)
        late = until_all_came(stopped, count)
    assert grown <= 1 << 20
    assert well["delivered"] >= 0.95 * count
    assert well["delivered"] + well["gaps"] == count
    assert late["gaps"] > 0
    assert late["delivered"] + late["gaps"] == count
    assert late["disorder"] == 0
    assert late["dropped"] == 0


async def test_what_was_published_last_arrives_although_the_process_ends(rings: Rings) -> None:
    bus = Bus(EmbeddedBus(rings, 0))
    farewells = bus.subscribe("farewell")
    for seat, where in ((1, "thread"), (2, "loop")):
        with Member("publish_and_leave", rings, seat, where) as member:
            assert await asyncio.to_thread(member.process.wait) == 0
    assert await take(farewells, 2) == ["without a loop", "in a loop"]
    bus.close()


async def test_a_fork_of_a_member_cannot_publish_and_harms_nothing(rings: Rings) -> None:
    bus = Bus(EmbeddedBus(rings, 0))
    messages = bus.subscribe("**")
    with Member("fork_and_publish", rings, 1) as member:
        assert await asyncio.to_thread(member.process.wait) == 0
    assert await take(messages, 2) == [1, 7]
    assert messages.gaps == 0
    bus.close()


async def test_the_next_holder_of_a_seat_joins_at_once(rings: Rings) -> None:
    bus = Bus(EmbeddedBus(rings, 0))
    farewells = bus.subscribe("farewell")
    for _ in range(3):
        with Member("publish_and_leave", rings, 1, "thread") as member:
            await asyncio.to_thread(member.process.wait)
            rings.release(1)
    assert await take(farewells, 3) == ["without a loop"] * 3
    with Member("count_numbers", rings, 1, "numbers") as member:
        assert await asyncio.to_thread(member.hear) == "ready"
        for number in range(10):
            bus.publish("numbers", (number, b""))
        await bus.flush()
        assert (await asyncio.to_thread(until_all_came, member, 10))["delivered"] == 10
    bus.close()


@pytest.mark.chaos("C26")
@pytest.mark.parametrize("careful", [False, True])
def test_no_message_is_corrupt_however_often_a_publisher_is_killed(careful: bool) -> None:
    """The ring is small, so that readers are lapped."""
    kills = len(trials("C26", 6, 500, 5000))
    rings = Rings.create(3, 256 << 10, careful=careful)
    with (
        Member("read_checked", rings, 2) as reader,
        Member("write_checked", rings, 1, 1) as survivor,
    ):
        assert reader.hear() == survivor.hear() == "ready"
        for incarnation in range(2, kills + 2):
            with Member("write_checked", rings, 0, incarnation) as victim:
                assert victim.hear() == "ready"
                time.sleep(random.random() * 0.05)  # not a wait: when it is killed is the test
                victim.kill()
            rings.release(0)
            rings.tidy()
        before = reader.ask()["last"]["1"]
        deadline = time.monotonic() + PATIENCE
        while (report := reader.ask())["last"]["1"] <= before:
            assert time.monotonic() < deadline, "the survivor's stream has stopped"
    rings.close()
    print(json.dumps(report))
    assert report["good"] > 0
    assert (report["corrupt"], report["disorder"], report["bad"]) == (0, 0, 0)
    assert len(report["last"]) > 1  # some of the killed were heard, too


@ONLY_LINUX
@pytest.mark.alone  # it looks at directories that all share
def test_a_killed_publisher_leaves_nothing_behind(rings: Rings) -> None:
    assert rings.parcels is not None
    rings.parcels.hold = 0.0

    def things() -> set[str]:
        places = ("/dev/shm", "/tmp", os.environ.get("TMPDIR", "/tmp"))
        names = {entry.name for place in places for entry in os.scandir(place)}
        return {name for name in names if "tercio" in name or "memfd" in name}

    before = things()
    with Member("write_checked", rings, 0, 1) as victim:
        assert victim.hear() == "ready"
        deadline = time.monotonic() + PATIENCE
        while os.fstat(rings.parcels.descriptor).st_blocks * 512 < 1 << 20:
            assert time.monotonic() < deadline
        victim.kill()
    rings.release(0)
    rings.tidy()
    assert os.fstat(rings.parcels.descriptor).st_blocks * 512 <= 1 << 16
    assert things() == before


@ONLY_LINUX
@pytest.mark.parametrize(("patterns", "most"), [("", 0), ("nothing", 12)])
def test_an_idle_process_sleeps(rings: Rings, patterns: str, most: int) -> None:
    """At most its look each quarter of a second; with nothing subscribed nothing at all."""

    def switches() -> int:
        for line in Path(f"/proc/{member.pid}/status").read_text().splitlines():
            if line.startswith("voluntary"):
                return int(line.split()[1])
        raise AssertionError("no count")

    with Member("idle", rings, 0, patterns) as member:
        assert member.hear() == "ready"
        time.sleep(0.5)  # not a wait for an event: until its first looks are over
        before = switches()
        time.sleep(2.0)
        assert switches() - before <= most


async def test_a_broken_member_is_counted_and_stops_nobody(
    rings: Rings, caplog: pytest.LogCaptureFixture
) -> None:
    bus, honest = Bus(EmbeddedBus(rings, 0)), Bus(EmbeddedBus(rings, 1))
    messages = bus.subscribe("**")
    bus.reply("a", lambda topic, message: None)
    bodies = [
        RUN.pack(3, 2, 0) + b"\xff\xfe" + b"abc",  # no UTF-8
        RUN.pack(1, 1, 0) + b"a" + b"\xc1",  # no msgpack
        RUN.pack(2, 4, 0) + b".q.a" + b"xx",  # no request
        RUN.pack(200, 1, 0) + b"a" + b"x",  # longer than it is
    ]
    for number, body in enumerate(bodies):
        head = rings.words[rings.heads + 2]
        header = HEADER.pack(head, number, len(body), 1, 0)
        rings.data[2][head : head + len(header) + len(body)] = header + body
        rings.words[rings.reserves + 2] = rings.words[rings.heads + 2] = head + 32 + len(body)
        honest.publish("honest", number)
    assert await take(messages, len(bodies)) == [0, 1, 2, 3]
    await until(lambda: bus.counters()["bad"] >= 1)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    bus.close()
    honest.close()


async def test_a_process_that_dies_while_it_is_waited_for_is_waited_for_no_more(
    rings: Rings,
) -> None:
    bus = Bus(EmbeddedBus(rings, 0))
    slow = Bus(EmbeddedBus(rings, 1))  # its process will be taken for dead
    held = slow.subscribe("a", capacity=1, policy="block")
    body = bytes(100_000)
    with suppress(TimeoutError):
        while True:
            await bus.send("a", body, timeout=0.3)
    waiting = asyncio.ensure_future(bus.send("a", body, timeout=PATIENCE))
    await asyncio.sleep(0)
    rings.release(1)
    await waiting
    held.close()
    bus.close()


def test_a_bus_lives_in_one_loop_after_the_other(rings: Rings) -> None:
    bus, other = Bus(EmbeddedBus(rings, 0)), Bus(EmbeddedBus(rings, 1))

    async def once() -> list[object]:
        messages = bus.subscribe("a")
        other.publish("a", 1)
        bus.publish("a", 2)
        return sorted(await take(messages, 2), key=str)

    for _ in range(3):
        assert asyncio.run(once()) == [1, 2]
    bus.publish("a", "without a loop")
    kept = []

    async def keep() -> None:
        kept.append(bus.subscribe("a", policy="block", capacity=1))
        kept.append(bus.subscribe("a"))

    for _ in range(2):
        asyncio.run(keep())
        assert bus.counters()["subscriptions"] == 2  # not those of the loops before, too
    bus.close()
    other.close()


async def test_a_thread_publishes_while_the_loop_is_blocked(rings: Rings) -> None:
    """What it publishes is bounded: a full batch is written at once."""
    bus, other = Bus(EmbeddedBus(rings, 0)), Bus(EmbeddedBus(rings, 1))
    messages = other.subscribe("a")

    def publish() -> None:
        for _ in range(2000):
            bus.publish("a", bytes(1000))

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join()  # the loop stands still meanwhile
    await until(lambda: messages.delivered + messages.dropped + len(messages) >= 2000)
    assert messages.gaps == 0
    bus.close()
    other.close()


def test_a_record_of_another_layout_is_refused() -> None:
    made = Rings.create(2, 1 << 20)
    made.words[1] = 99
    code = (
        "import json, sys; from tercio.dataplane.rings import Rings\n"
        "try: Rings.attach(json.loads(sys.argv[1]))\n"
        "except ValueError as error: print(error)"
    )
    record = made.to_record()
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps(record)],
        pass_fds=list(record.values()),
        capture_output=True,
        check=True,
    )
    assert b"layout" in answer.stdout
    made.close()
