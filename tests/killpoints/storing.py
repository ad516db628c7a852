"""A process opens the shared state and writes it; another keeps it open and looks."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tercio.engines.embedded.state import EmbeddedState, open_state
from tercio.state.state import State
from tests.cluster.chaos.tiers import SLACK
from tests.state.engines import place

_BOUND: Final = 0.1
"""Seconds that a read, or a write, of another process may take."""

_ITEMS: Final = ({0}, {0, 1}, {1}, {0, 1}, {0}, {0})
"""How many items may be in the queue, by how many parts were told."""


class Storing:
    """See `Story`."""

    def __init__(self, kind: str, directory: Path, sync: str = "none") -> None:
        self._place = place(kind, directory, sync=sync)
        self._witness = Witness(place(kind, directory))
        self._counted = 0
        self._slowest = 0.0

    def begin(self) -> None:
        pass

    def act(self, tell: Callable[[], None]) -> None:
        engine = open_state(self._place, cares=False)
        state = State(engine).sync
        queue = state.queue("jobs", type=bytes)
        parts: tuple[Callable[[], object], ...] = (
            lambda: state.incr("n"),
            lambda: queue.put(b"x" * 5000),
            lambda: state.set("large", b"x" * 20_000, ttl=60.0),
            lambda: queue.get(),
            lambda: state.delete("large"),
        )
        for part in parts:
            part()
            tell()
        engine.close_now()

    def look(self, told: int) -> None:
        seen = self._witness.ask()
        added = seen["n"] - self._counted
        assert added in ({1} if told else {0, 1}), "a count was lost, or came twice"
        assert seen["items"] in _ITEMS[told], "an item was lost, or came twice"
        assert seen["size"] == seen["items"], "the queue's size is not its items'"
        assert seen["large"] in (0, 20_000), "half a value"
        assert told not in (-1, 5) or not seen["large"], "it was deleted"
        assert seen["took"] < _BOUND * SLACK, f"{seen['took']} s for a call: something was held"
        self._counted = seen["n"]
        self._slowest = max(self._slowest, seen["took"])

    def end(self) -> dict[str, object]:
        self._witness.end()
        return {"slowest call of another, ms": round(1000 * self._slowest, 1)}


class Witness:
    """A process that has the state open all the time, so that nobody opens it as the first."""

    def __init__(self, where: dict[str, object]) -> None:
        (theirs, questions), (answers, ours) = os.pipe(), os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(questions)
            os.close(answers)
            try:
                _testify(open_state(where, cares=False), theirs, ours)
            finally:
                os._exit(1)
        os.close(theirs)
        os.close(ours)
        self._questions = questions
        self._answers = os.fdopen(answers, "rb")
        # Not before it has opened the state: a fork must not be inside LMDB meanwhile.
        assert self._answers.readline() == b"ready\n"

    def ask(self) -> dict[str, Any]:
        os.write(self._questions, b"?")
        seen: dict[str, Any] = json.loads(self._answers.readline())
        return seen

    def end(self) -> None:
        os.close(self._questions)
        self._answers.close()
        os.waitpid(self._pid, 0)


def _testify(engine: EmbeddedState, questions: int, answers: int) -> None:
    state = State(engine).sync
    queue = state.queue("jobs", type=bytes)
    worst = 0.0

    def timed(call: Callable[[], Any]) -> Any:
        nonlocal worst
        began = time.monotonic()
        result = call()
        worst = max(worst, time.monotonic() - began)
        return result

    os.write(answers, b"ready\n")
    while os.read(questions, 1):
        worst = 0.0
        count = timed(lambda: state.get("n", 0, type=int))
        timed(lambda: state.incr("witnessed"))
        size, items = timed(queue.size), 0
        while timed(queue.size):
            items += len(timed(lambda: queue.get(timeout=0.0))) == 5000
        large = len(timed(lambda: state.get("large", b"", type=bytes)))
        seen = {"n": count, "size": size, "items": items, "large": large, "took": worst}
        os.write(answers, json.dumps(seen).encode() + b"\n")
    engine.close_now()


def lmdb(directory: Path) -> Storing:
    return Storing("lmdb", directory)


def sqlite(directory: Path) -> Storing:
    return Storing("sqlite", directory)


def synced_lmdb(directory: Path) -> Storing:
    return Storing("lmdb", directory, "always")


def synced_sqlite(directory: Path) -> Storing:
    return Storing("sqlite", directory, "always")
