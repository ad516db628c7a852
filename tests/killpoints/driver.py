"""Play a story once for each point at which its process may be killed.

Run as ``python -m tests.killpoints.driver STORY DIRECTORY POINTS SEED``: in a process of its own,
since it forks. It says in JSON how many points there are, and how often it killed; a fault that it
finds is an exception that names the point. Python must be the same one: the points are its
instructions.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from tests.killpoints import tracing

ROOT: Final = Path(__file__).parents[2]


class Story(Protocol):
    """What is done, and what must be true however far it came."""

    def begin(self) -> None:
        """Make ready for the next process."""

    def act(self, tell: Callable[[], None]) -> None:
        """In a process of its own: do it, and tell after each part that is done."""

    def look(self, told: int) -> None:
        """It is dead, and has told that often. Raises `AssertionError`."""

    def end(self) -> dict[str, object]:
        """Look once more, and let everything go; returns figures worth a line."""


def play(
    name: str, directory: Path, points: int, seed: str, *, module: str = __name__
) -> dict[str, Any]:
    """Play a story, at ``points`` points that ``seed`` chooses (0: at all); see the module."""
    done = subprocess.run(
        [sys.executable, "-m", module, name, str(directory), str(points), seed],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main(name: str, directory: str, points: str, seed: str) -> None:
    from tests.killpoints.stories import STORIES

    story = STORIES[name](Path(directory))
    story.begin()
    total = _in_a_process(lambda answer: _count(story, answer))[1]
    story.look(ALL)
    chance = random.Random(f"{seed} {name}")
    wanted = int(points) or total
    chosen = sorted(chance.sample(range(1, total + 1), min(wanted, total)))
    killed = 0
    for point in chosen:
        story.begin()
        is_killed, told = _in_a_process(lambda answer, at=point: _die(story, answer, at))  # type: ignore[misc]
        killed += is_killed
        try:
            story.look(told)
        except AssertionError as error:
            raise AssertionError(f"{name}: killed at {point} of {total}, told {told}") from error
    print(json.dumps({"points": total, "played": len(chosen), "killed": killed, **story.end()}))


ALL: Final = -1
"""As told: it came to its end."""


def _count(story: Story, answer: int) -> None:
    total = tracing.count(lambda: story.act(lambda: None))
    os.write(answer, b"." * total)


def _die(story: Story, answer: int, point: int) -> None:
    tracing.die_at(point, lambda: story.act(lambda: tell(answer)))


def tell(answer: int) -> None:
    os.write(answer, b".")


def _in_a_process(action: Callable[[int], None]) -> tuple[bool, int]:
    """Whether it was killed, and how many bytes it wrote."""
    answers, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            action(theirs)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    os.close(theirs)
    with open(answers, "rb") as file:
        told = len(file.read())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -9), f"it failed by itself: {status}"
    return status == -9, told


if __name__ == "__main__":
    main(*sys.argv[1:])
