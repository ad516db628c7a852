"""Real processes that share one embedded state, for faults that only they can have.

Run as ``python -m tests.state.processes COMMAND KIND DIRECTORY …``. A process says what was
acknowledged on its standard output, a line each, so that its death loses none of it.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from tercio.engines.embedded.state import EmbeddedState, open_state
from tercio.engines.embedded.table import Table
from tercio.errors import StateBusy
from tercio.state.state import State
from tests.state.engines import place

ROOT = Path(__file__).parents[2]


def start(
    command: str, kind: str, directory: Path, *arguments: object
) -> "subprocess.Popen[bytes]":
    """Start a process of this module."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "tests.state.processes", command, kind, str(directory),
            *map(str, arguments),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )  # fmt: skip


def opened(kind: str, directory: str) -> EmbeddedState:
    return open_state(place(kind, Path(directory)), cares=False)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def count(kind: str, directory: str, key: str, times: str) -> None:
    """Add ``times`` times (0: until killed), telling each sum."""
    state = State(opened(kind, directory))
    done = 0
    while not int(times) or done < int(times):
        try:
            value = await state.incr(key)
        except StateBusy:
            continue
        done += 1
        say(str(value))
        if done % 7 == 0:
            await state.set(f"{key}-{os.getpid()}", "x" * (done % 3000), ttl=60.0)


async def record(kind: str, directory: str, key: str, times: str) -> None:
    """Read, add to and replace one register, telling each call with its times, when told to."""
    state = State(opened(kind, directory))
    say("ready")
    os.read(0, 1)
    for number in range(int(times)):
        action = ("get", "incr", "set")[(number * 7 + os.getpid()) % 3]
        began = time.monotonic_ns()
        result: object
        if action == "get":
            result, argument = await state.get(key, 0), None
        elif action == "incr":
            result, argument = await state.incr(key), None
        else:
            argument = os.getpid() * 1_000_000 + number * 1000
            result = await state.set(key, argument)
        say(json.dumps([began, time.monotonic_ns(), action, argument, result]))


async def stop_inside(kind: str, directory: str) -> None:
    """Stop in the middle of a write."""
    engine = opened(kind, directory)

    def step(table: Table, verb: object, now: float) -> None:
        table.put(b"kv::half", b"\x01\x01")
        say("inside")
        os.kill(os.getpid(), signal.SIGSTOP)

    while not engine._lock.try_now():
        pass
    engine.store.change(step, None, 0.0)


async def kill(kind: str, directory: str, kills: str, crew: str, seed: str) -> None:
    """Kill processes that count, at any point, and start others; tell what they were told.

    They are forks of this process, which has opened nothing: 100 of them take a second or two.
    """
    random_ = random.Random(seed)
    alive = [_counting(kind, directory) for _ in range(int(crew))]
    told = died = 0
    while alive:
        pid, answers = alive.pop(0)
        os.read(answers, 1)  # it has begun
        time.sleep(random_.uniform(0.0, 0.01))  # anywhere in its loop
        os.kill(pid, signal.SIGKILL)
        with open(answers, "rb") as lines:
            told += lines.read().count(b"\n")
        os.waitpid(pid, 0)
        died += 1
        if died + len(alive) < int(kills):
            alive.append(_counting(kind, directory))
    say(json.dumps([told, died]))


def _counting(kind: str, directory: str) -> tuple[int, int]:
    answers, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, answers
    os.dup2(theirs, 1)
    asyncio._set_running_loop(None)
    try:
        asyncio.run(count(kind, directory, "n", "0"))
    finally:
        os._exit(1)


COMMANDS: dict[str, Callable[..., Coroutine[object, object, None]]] = {
    "count": count,
    "record": record,
    "stop_inside": stop_inside,
    "kill": kill,
}

if __name__ == "__main__":
    asyncio.run(COMMANDS[sys.argv[1]](*sys.argv[2:]))
