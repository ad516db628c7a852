"""A dump shows who waits for whom, and fits into a message."""

import asyncio
import json

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


def test_a_long_text_loses_its_middle() -> None:
    text = "first\n" + "é\n" * 100_000 + "last"
    clipped = stacks.clip(text, 1000)
    assert len(json.dumps(clipped, ensure_ascii=False).encode()) <= 1000
    assert clipped.startswith("first\n")
    assert clipped.endswith("last")
    assert "characters left out" in clipped
    assert stacks.clip("short", 1000) == "short"
