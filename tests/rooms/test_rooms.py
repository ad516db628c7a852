"""Who is in a room gets what is sent to it, once, from whichever worker it comes."""

import asyncio
import json
import random
from contextlib import AsyncExitStack

import pytest

from tercio.errors import Unencodable
from tercio.rooms import Connection
from tests.rooms.client import PATIENCE, Client, FramedClient
from tests.rooms.conftest import Workers


async def crowd(stack: AsyncExitStack, workers: Workers, each: int) -> list[Client]:
    """Clients at all workers, in the room "lobby"; every other one at a server of another kind."""
    clients: list[Client] = []
    for rooms in workers.rooms:
        for number in range(each):
            client = FramedClient() if number % 2 else Client()
            connection = await stack.enter_async_context(rooms.connect(client))
            await connection.join("lobby")
            clients.append(client)
    return clients


async def test_everybody_in_the_room_gets_it_once(workers: Workers) -> None:
    async with AsyncExitStack() as stack:
        clients = await crowd(stack, workers, 4)
        stranger = Client()
        other = await stack.enter_async_context(workers.rooms[0].connect(stranger))
        await other.join("elsewhere")
        for number in range(50):
            await workers.rooms[number % 3].send("lobby", f"message {number}")
            await workers.rooms[number % 3].send("elsewhere", {"number": number})
        for client in clients:
            await client.until(lambda client: len(client.got) >= 50)
            assert sorted(client.got) == sorted(f"message {n}" for n in range(50))
            for sender in range(3):
                mine = [int(str(each).split()[1]) for each in client.got]
                mine = [number for number in mine if number % 3 == sender]
                assert mine == sorted(mine), "in the order of its sender"
        await stranger.until(lambda client: len(client.got) >= 50)
        assert sorted(json.loads(each)["number"] for each in stranger.got) == list(range(50))


async def test_bytes_stay_bytes(workers: Workers) -> None:
    client = Client()
    async with workers.rooms[0].connect(client) as connection:
        await connection.join("lobby")
        await workers.rooms[1].send("lobby", b"\x00\xff")
        assert await client.until_got(b"\x00\xff") == [b"\x00\xff"]


async def test_to_one_to_all_and_to_all_but_one(workers: Workers) -> None:
    async with AsyncExitStack() as stack:
        clients = [Client() for _ in workers.rooms]
        connections: list[Connection] = []
        for rooms, client in zip(workers.rooms, clients, strict=True):
            connection = await stack.enter_async_context(rooms.connect(client))
            await connection.join("lobby")
            connections.append(connection)
        workers.rooms[0].send_to(connections[2].id, "to one")
        workers.rooms[0].send_all("to all", exclude=[connections[1].id])
        await workers.rooms[0].send("lobby", "but one", exclude=[connections[0].id])
        workers.rooms[0].send_all("end")
        expected = [["to all", "end"], ["but one", "end"], ["to one", "to all", "but one", "end"]]
        for client, messages in zip(clients, expected, strict=True):
            assert await client.until_got("end") == messages
        workers.rooms[0].close_client(connections[1].id, 4001, "out")
        await clients[1].until(lambda client: client.closed == (4001, "out"))


async def test_who_left_gets_nothing_more(workers: Workers) -> None:
    client = Client()
    async with workers.rooms[0].connect(client) as connection:
        await connection.join("lobby")
        await workers.rooms[1].send("lobby", "before")
        await client.until_got("before")
        await connection.leave("lobby")
        await workers.rooms[1].send("lobby", "after")
        workers.rooms[1].send_to(connection.id, "end")
        assert await client.until_got("end") == ["before", "end"]
    assert not workers.rooms[0].members
    assert not workers.rooms[0].places


async def test_many_messages_of_one_turn_are_one_write(workers: Workers) -> None:
    client = FramedClient()
    async with workers.rooms[0].connect(client) as connection:
        await connection.join("lobby")
        for number in range(100):
            await workers.rooms[1].send("lobby", str(number))
        assert await client.until_got("99") == [str(number) for number in range(100)]
        assert len(client.writes) < 100


async def test_a_client_that_does_not_keep_up_costs_only_itself(workers: Workers) -> None:
    rooms = workers.rooms[0]
    good, slow, framed = Client(), Client(), FramedClient()
    slow.may_read.clear()
    framed.waiting = 400_001
    async with AsyncExitStack() as stack:
        for client in (good, slow, framed):
            connection = await stack.enter_async_context(rooms.connect(client, backlog=100_000))
            await connection.join("lobby")
        for number in range(8):
            message = f"{number}" * 90_000
            await workers.rooms[1].send("lobby", message)
            assert len(await good.until_got(message)) == number + 1
        for client in (slow, framed):
            await client.until(lambda client: client.closed == (1013, "too slow"))
        assert not slow.got
    text = dict(_series(workers))
    assert text["tercio_room_slow_clients_total"] == 2


def _series(workers: Workers) -> list[tuple[str, float]]:
    lines = workers.metrics[0].text().splitlines()
    found = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(name, float(value)) for name, value in found]


async def test_presence_counts_over_all_workers(workers: Workers) -> None:
    async with AsyncExitStack() as stack:
        await crowd(stack, workers, 2)
        named = await stack.enter_async_context(workers.rooms[1].connect(Client(), name="ada"))
        await named.join("lobby")
        await _until_counted(workers, 7)
        assert await workers.rooms[0].names("lobby") == ["ada"]
        await named.leave("lobby")
        await _until_counted(workers, 6)
    await _until_counted(workers, 0)
    assert await workers.rooms[2].names("lobby") == []


async def _until_counted(workers: Workers, expected: int) -> None:
    async with asyncio.timeout(PATIENCE):
        for rooms in workers.rooms:
            while await rooms.count("lobby") != expected:
                await asyncio.sleep(0.01)


async def test_a_worker_that_ends_takes_its_clients_out_at_once(workers: Workers) -> None:
    async with workers.rooms[0].connect(Client()) as connection:
        await connection.join("lobby")
        async with asyncio.timeout(PATIENCE):
            while await workers.rooms[1].count("lobby") != 1:
                await asyncio.sleep(0.01)
        await workers.rooms[0].leave_all()
        assert await workers.rooms[1].count("lobby") == 0


async def test_who_comes_back_gets_what_it_missed_once_and_in_order(workers: Workers) -> None:
    for rooms in workers.rooms:
        rooms.keep("chat-*", last=50)
    client = Client()
    async with workers.rooms[0].connect(client) as connection:
        begun = await connection.join("chat-1")
        numbers = [await workers.rooms[n % 3].send("chat-1", f"early {n}") for n in range(5)]
        assert numbers == list(range(begun.position + 1, begun.position + 6))
        await client.until(lambda client: len(client.got) == 5)
    last = json.loads(client.got[-1])
    assert last == {"room": "chat-1", "seq": numbers[-1], "data": "early 4"}

    for n in range(5):  # while it is away
        await workers.rooms[n % 3].send("chat-1", f"missed {n}")
    again = FramedClient()
    async with workers.rooms[1].connect(again) as connection:
        joined = await connection.join("chat-1", after=last["seq"])
        assert joined == (last["seq"] + 5, 0)
        await workers.rooms[2].send("chat-1", "live")
        await again.until(lambda client: len(client.got) >= 6)
    said = [json.loads(each) for each in again.got]
    assert [each["data"] for each in said] == [f"missed {n}" for n in range(5)] + ["live"]
    assert [each["seq"] for each in said] == list(range(last["seq"] + 1, last["seq"] + 7))


async def test_who_was_away_for_too_long_learns_how_much_it_missed(workers: Workers) -> None:
    for rooms in workers.rooms:
        rooms.keep("chat", last=10)
    first = await workers.rooms[0].send("chat", "first")
    for n in range(30):
        await workers.rooms[0].send("chat", n)
    client = Client()
    async with workers.rooms[1].connect(client) as connection:
        joined = await connection.join("chat", after=first)
        assert joined == (first + 30, 20)
        await client.until(lambda client: len(client.got) == 10)
        assert [json.loads(each)["data"] for each in client.got] == list(range(20, 30))


async def test_clients_that_come_and_go_under_traffic_lose_and_double_nothing(
    workers: Workers,
) -> None:
    """Each reads a while, leaves, and resumes at another worker, while all workers send."""
    for rooms in workers.rooms:
        rooms.keep("chat", last=5000)
    start = await workers.rooms[0].send("chat", "start")
    total, senders = 600, 3
    done = asyncio.Event()

    async def send(number: int) -> None:
        for n in range(total // senders):
            await workers.rooms[number].send("chat", [number, n])
            await asyncio.sleep(0)

    async def roam(seed: int) -> list[int]:
        chance = random.Random(seed)
        seen: list[int] = []
        while not done.is_set() or not seen or seen[-1] < start + total:
            client: Client = FramedClient() if chance.random() < 0.5 else Client()
            async with chance.choice(workers.rooms).connect(client) as connection:
                await connection.join("chat", after=seen[-1] if seen else start)
                wanted = min(chance.randrange(1, 60), start + total - (seen or [start])[-1])
                await client.until(lambda client, wanted=wanted: len(client.got) >= wanted)  # type: ignore[misc]
            seen += [json.loads(each)["seq"] for each in client.got]
        return seen

    async with asyncio.timeout(PATIENCE * 2), asyncio.TaskGroup() as group:
        roaming = [group.create_task(roam(seed)) for seed in range(9)]
        await asyncio.gather(*(send(number) for number in range(senders)))
        done.set()
    for task in roaming:
        assert task.result() == list(range(start + 1, start + total + 1))


async def test_a_message_that_the_bus_lost_comes_from_the_state(workers: Workers) -> None:
    for rooms in workers.rooms:
        rooms.keep("chat", last=100)
    client = Client()
    async with workers.rooms[0].connect(client) as connection:
        await connection.join("chat")
        kept = workers.rooms[1].kept("chat")
        assert kept is not None
        await kept.add("never published")
        await workers.rooms[1].send("chat", "published")
        await client.until(lambda client: len(client.got) == 2)
    assert [json.loads(each)["data"] for each in client.got] == ["never published", "published"]


async def test_the_last_message_is_not_lost_either(workers: Workers) -> None:
    """Nothing that comes after it tells that one is missing."""
    for rooms in workers.rooms:
        rooms.keep("chat", last=100)
    client = Client()
    async with workers.rooms[0].connect(client) as connection:
        await connection.join("chat")
        kept = workers.rooms[1].kept("chat")
        assert kept is not None
        await kept.add("never published")
        await client.until(lambda client: len(client.got) == 1)
        await workers.rooms[1].send("chat", "published")
        await client.until(lambda client: len(client.got) == 2)
    assert [json.loads(each)["data"] for each in client.got] == ["never published", "published"]


async def test_a_thread_sends_as_well(workers: Workers) -> None:
    for rooms in workers.rooms:
        rooms.keep("chat")
    client = Client()
    async with workers.rooms[0].connect(client) as connection:
        await connection.join("chat")
        await connection.join("lobby")
        threads = workers.rooms[1].sync
        number = await asyncio.to_thread(threads.send, "chat", "kept")
        await asyncio.to_thread(threads.send, "lobby", "plain")
        await client.until(lambda client: len(client.got) == 2)
    assert sorted(map(str, client.got)) == sorted(
        ["plain", f'{{"room":"chat","seq":{number},"data":"kept"}}']
    )


async def test_what_cannot_be_sent_is_refused_at_once(workers: Workers) -> None:
    rooms = workers.rooms[0]
    rooms.keep("chat")
    with pytest.raises(Unencodable, match="JSON"):
        await rooms.send("lobby", object())
    with pytest.raises(Unencodable, match="bytes"):
        await rooms.send("chat", b"\x00")
    with pytest.raises(ValueError, match="expected a name of 1 to 200 bytes"):
        await rooms.send("x" * 201, "")
    with pytest.raises(ValueError, match="expected a name"):
        async with rooms.connect(Client()) as connection:
            await connection.join("")
    with pytest.raises(ValueError, match=r"rooms\.keep"):
        rooms.keep("a", last=0)
