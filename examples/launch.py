"""A cluster in the hands of a program, as with Node's `cluster`: start, talk, reload, stop.

    python examples/launch.py

Leaving the `async with`, Ctrl-C and SIGKILL all end the workers with this program.
"""

import asyncio
import sys
from pathlib import Path

import tercio
from tercio.running import Running

HERE = Path(__file__).parent


async def squares(running: Running, numbers: list[int]) -> int:
    """Send each number to the next worker, and add up what comes back."""
    answers = running.messages()
    slots = [worker.slot for worker in running.workers if worker.state == "serving"]
    for place, number in enumerate(numbers):
        await running.send(slots[place % len(slots)], number)
    total = 0
    for _ in numbers:
        answer = await anext(answers)
        assert isinstance(answer.value, dict)
        total += answer.value["square"]
    return total


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


async def main() -> None:
    """Two workers, then their successors, then one more."""
    async with tercio.launch(
        "jobs:main",
        interface="callable",
        workers=2,
        cwd=HERE,
        log_level="error",
        soak=0.2,
        trial=0.2,
    ) as running:
        say("the sum of squares is", await squares(running, [1, 2, 3, 4]))
        say("generation", await running.reload())
        say("workers:", await running.scale("+1"))
        say("the sum of squares is", await squares(running, [5, 6, 7]))


if __name__ == "__main__":
    asyncio.run(main())
