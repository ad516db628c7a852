"""Pass messages between workers and the program that launched the cluster: few and small ones.

What they say is not looked at. No queue is kept here but for what workers send before anybody
listens; a worker that takes none, or sends too many, costs only itself.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tercio.core.cluster import Cluster
from tercio.core.model import WorkerId
from tercio.errors import ControlError
from tercio.primary.messages import Letter
from tercio.primary.worker_process import WorkerProcess

_MOST_UNSENT: Final = 8  # messages for a worker that the kernel has not taken yet
_MOST_BEHIND: Final = 100  # messages of workers that a slow client may be behind
_MOST_EARLY: Final = 100  # messages that came before anybody listened
_ANSWER_WAIT: Final = 5.0  # seconds for a worker to say that it has a message

_LARGEST: Final = 88 * 1024  # characters: 64 KiB in base64, and some
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)

Emit = Callable[[Mapping[str, object]], Awaitable[None]]


class Letters:
    """All messages of one cluster."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cluster: Callable[[], Cluster],
        workers: Mapping[WorkerId, WorkerProcess],
    ) -> None:
        self._loop = loop
        self._cluster = cluster
        self._workers = workers
        self._number = 0
        self._listeners: list[Callable[[Letter | None], None]] = []
        self._early: deque[Letter] = deque(maxlen=_MOST_EARLY)

    async def send(self, slot: int, body: object) -> WorkerId:
        """Give a message to the worker that serves in ``slot``. Raises `ControlError`."""
        if not isinstance(body, str) or len(body) > _LARGEST or not _BASE64.fullmatch(body):
            raise ControlError(f"'body' must be base64, of {_LARGEST} characters at the most")
        worker = self._worker_in(slot)
        if worker.channel.pending >= _MOST_UNSENT:
            raise ControlError(
                f"worker {worker.id} reads nothing: {worker.channel.pending} messages wait for it"
            )
        self._number += 1
        asked = worker.letters[self._number] = self._loop.create_future()
        if not worker.send({"type": "letter", "id": self._number, "body": body}):
            raise ControlError(f"worker {worker.id} is ending")
        # `wait`, not `wait_for`: the end of the worker cancels the answer, not us.
        await asyncio.wait({asked}, timeout=_ANSWER_WAIT)
        if asked.cancelled():
            raise ControlError(f"worker {worker.id} ended before it took the message")
        if not asked.done():
            raise ControlError(
                f"worker {worker.id} has not taken the message within {_ANSWER_WAIT:g} s: "
                "is it stopped? It may take it yet"
            )
        if refusal := asked.result():
            raise ControlError(f"worker {worker.id} {refusal}")
        return worker.id

    def take(self, letter: Letter) -> None:
        """A message of a worker."""
        if not self._listeners:
            self._early.append(letter)
        for listener in tuple(self._listeners):
            listener(letter)

    def end(self) -> None:
        """No worker is left: tell who listens."""
        for listener in tuple(self._listeners):
            listener(None)

    async def follow(self, emit: Emit) -> dict[str, object]:
        """Emit what workers send until the cluster ends; what the client is too slow for is lost.

        The first client begins with what came before it.
        """
        queue: asyncio.Queue[Letter | None] = asyncio.Queue(_MOST_BEHIND + 1)
        missed = 0

        def keep(letter: Letter | None) -> None:
            nonlocal missed
            if letter is not None and queue.qsize() >= _MOST_BEHIND:
                missed += 1
            else:
                queue.put_nowait(letter)

        while self._early:
            keep(self._early.popleft())
        self._listeners.append(keep)
        try:
            while (letter := await queue.get()) is not None:
                await emit({"event": {**letter.to_json(), "missed": missed}})
            return {"missed": missed}
        finally:
            self._listeners.remove(keep)

    def _worker_in(self, slot: int) -> WorkerProcess:
        found = self._cluster().slots.get(slot)
        for worker in found.serving if found is not None else ():
            process = self._workers.get(worker.id)
            if process is not None:
                return process
        raise ControlError(f"no worker serves in slot {slot}")
