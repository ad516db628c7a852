"""Play a story, and kill its process by strace at the n-th of one of its system calls.

Run as ``python -m tests.killpoints.calls STORY DIRECTORY TRIALS SEED``; see `driver`. The tracer is
put on a fork that waits for it, so the calls are those of the story alone.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from tests.killpoints.driver import ALL, Story, tell

CALLS: Final = (
    "openat", "fcntl", "ftruncate", "fallocate", "pwrite64", "pwritev", "write", "writev",
    "fdatasync", "fsync", "msync", "mmap", "munmap", "madvise", "futex", "unlink", "close",
)  # fmt: skip
"""Which of them may be the last."""


def main(name: str, directory: str, trials: str, seed: str) -> None:
    from tests.killpoints.stories import STORIES

    story = STORIES[name](Path(directory))
    log = Path(directory) / "calls"
    # Twice: what makes the files comes once only.
    for _ in range(2):
        story.begin()
        _traced(story, ("-o", str(log), "-e", f"trace={','.join(CALLS)}"))
        story.look(ALL)
    made = Counter(line.partition("(")[0].split()[-1] for line in log.read_text().splitlines())
    numbers = {call: number for call, number in made.items() if call in CALLS}
    chance = random.Random(f"{seed} {name}")
    killed: Counter[str] = Counter()
    for _ in range(int(trials)):
        call = chance.choice(sorted(numbers))  # the rare ones as often as the others
        nth = chance.randint(1, numbers[call])
        story.begin()
        fault = f"inject={call}:signal=KILL:when={nth}"
        is_killed, told = _traced(story, ("-o", os.devnull, "-e", f"trace={call}", "-e", fault))
        killed[call] += is_killed
        try:
            story.look(told)
        except AssertionError as error:
            raise AssertionError(f"{name}: killed at {call} {nth}, told {told}") from error
    report = {
        "points": sum(numbers.values()),
        "played": int(trials),
        "killed": sum(killed.values()),
    }
    print(json.dumps({**report, "at": killed, **story.end()}))


def _traced(story: Story, options: tuple[str, ...]) -> tuple[bool, int]:
    """Whether it was killed, and how often it told."""
    (answers, theirs), (start, go) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.read(start, 1)
            story.act(lambda: tell(theirs))
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    os.close(theirs)
    os.close(start)
    command = ["strace", "-p", str(pid), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, line
        os.write(go, b"!")
        os.close(go)
        with open(answers, "rb") as file:
            told = len(file.read())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        tracer.stderr.read()
    assert status in (0, -9), f"it failed by itself: {status}"
    return status == -9, told


if __name__ == "__main__":
    main(*sys.argv[1:])
