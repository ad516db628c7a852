"""A dump shows who waits for whom, and fits into a message."""

import asyncio
import sys

from tercio.worker import stacks


async def leaf(turn: asyncio.Event) -> None:
    await turn.wait()


async def branch(turn: asyncio.Event) -> None:
    await asyncio.gather(
        asyncio.create_task(leaf(turn), name="left"), asyncio.create_task(leaf(turn), name="right")
    )


def test_tasks_are_shown_below_those_that_wait_for_them() -> None:
    async def main() -> str:
        turn = asyncio.Event()
        root = asyncio.create_task(branch(turn), name="root")
        while len(asyncio.all_tasks()) < 4:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        text = stacks.tasks(asyncio.get_running_loop())
        turn.set()
        await root
        return text

    lines = asyncio.run(main()).splitlines()
    assert "Task root: branch" in lines
    below = lines[lines.index("Task root: branch") :]
    assert "  Task left: leaf" in below
    assert "  Task right: leaf" in below
    assert any("await turn.wait()" in line for line in below)


def test_a_chain_that_is_longer_than_the_stack_is_shown_in_part() -> None:
    async def follow(task: "asyncio.Task[None] | asyncio.Future[None]") -> None:
        await task

    async def main() -> str:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        chain = [asyncio.create_task(follow(turn))]
        for _ in range(sys.getrecursionlimit() * 2):
            chain.append(asyncio.create_task(follow(chain[-1])))
        await asyncio.sleep(0)
        text = stacks.tasks(asyncio.get_running_loop())
        turn.set_result(None)
        await chain[-1]
        return text

    lines = asyncio.run(main()).splitlines()
    assert sum(line.lstrip().startswith("Task ") for line in lines) == 500
    assert f"… and {sys.getrecursionlimit() * 2 + 2 - 500} more" == lines[-1]
