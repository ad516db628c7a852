"""A dump shows who waits for whom, and fits into a message."""

import asyncio

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
