"""A cluster that this program has launched, as long as its ``async with`` lasts."""

import asyncio
import subprocess
from collections import deque
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from tercio.cli.asking import ask, converse
from tercio.cli.client import Message, RequestFailed, Told, number, text
from tercio.cluster.post import pack, unpack
from tercio.errors import ControlError, CouldNotStart, TercioError, WrongType
from tercio.running.child import Child
from tercio.running.feed import QUEUED, Feed, Reader
from tercio.running.views import Event, WorkerMessage, WorkerStatus, workers_of

_KEPT: Final = 1000  # events for `events(since)`
_REST: Final = 0.25  # seconds between two looks at the workers that events have asked for

_LAST_WORDS: Final = 1.0  # seconds to read what a primary that is gone has said

_FAILURES: Final = frozenset(
    {"WorkerBootFailed", "SpawnFailed", "WorkerKilled", "WorkerDied", "StartGivenUp", "Stopped"}
)
"""What ends a start. A command line tries again and again; a program is told, and decides."""


class Running:
    """A cluster. Every request raises `ControlError` with a reason when it cannot be done.

    Cancelling a request ends the waiting for it; the cluster goes on with what was asked.
    """

    def __init__(self, child: Child) -> None:
        """For `launch` alone."""
        self._child = child
        self.directory: Path = Path()
        """The cluster's runtime directory: `tercio --runtime-dir` takes the one above it."""
        self.addresses: tuple[str, ...] = ()
        """URLs that it serves at; the port is the real one where 0 was asked for."""
        self.name: str = ""
        """The cluster's, for `tercio status`."""
        self._workers: tuple[WorkerStatus, ...] = ()
        self._feed = Feed[Event]()
        self._post = Feed[WorkerMessage]()
        self._unread: deque[WorkerMessage] | None = deque(maxlen=QUEUED)  # None: somebody reads
        self.messages_missed: int = 0
        """Messages of workers that this program was too slow to take from the primary."""
        self._past: deque[Event] = deque(maxlen=_KEPT)
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The primary. It is waited for by `wait`, and by nobody else."""
        return self._child.process

    @property
    def pid(self) -> int:
        """The primary's."""
        return self._child.process.pid

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """All workers, by slot, as they were at the last news of one, or after the last request.

        Counts in it are of that moment; `status` asks anew.
        """
        return self._workers

    async def status(self) -> Message:
        """What `tercio status --json` shows, now."""
        status = await self._ask("status")
        self._workers = workers_of(status)
        return status

    async def reload(self) -> int:
        """Load new code and options without losing a request; return the new generation.

        If new workers fail the old ones go on, and `ControlError` says why.
        """
        result = await self._change("reload")
        return int(number(result, "generation") or 0)

    async def scale(self, to: int | str) -> int:
        """Change the number of workers to 8, "+1" or "-1"; return it once they serve.

        A number is how many are wanted, never a difference.
        """
        if isinstance(to, int) and to < 0:
            raise ControlError(f'scale to {to}: expected how many workers, or "{to}" for fewer')
        result = await self._change("scale", to=str(to))
        return int(number(result, "target") or 0)

    async def recycle(self, slot: int | None = None) -> tuple[str, ...]:
        """Replace the worker of a slot, or of all, by a fresh one with the same code.

        Returns the ids of those that are gone. No request is lost.
        """
        result = await self._change("recycle", slots="all" if slot is None else [slot])
        replaced = result.get("replaced")
        return tuple(map(str, replaced)) if isinstance(replaced, list) else ()

    async def send(self, slot: int, message: object) -> None:
        """Give a message to the worker that serves in a slot, for `cluster.worker.messages`.

        Control traffic: what msgpack knows, 64 KiB of it at the most. Raises `Unencodable`,
        `ValueTooLarge`, and `ControlError` when no worker serves there, when too many messages wait
        in it, or when it does not answer.
        """
        await self._ask("send", slot=slot, body=pack(message))

    def messages(self) -> Reader[WorkerMessage]:
        """Iterate over what workers send by `cluster.worker.send_to_launcher`, from this call on.

        The first reader begins with what came before it, a thousand messages at the most.
        """
        past, self._unread = self._unread, None
        return self._post.read(past or ())

    async def dump(self, slot: int) -> str:
        """The threads and tasks of the worker in a slot, without stopping it."""
        return text(await self._ask("dump", slot=slot), "text")

    async def stop(self, *, now: bool = False) -> int:
        """Finish running requests, or with ``now`` cut them; return the primary's exit code.

        A cluster that has ended already is no error. The end of ``async with`` does this, too.
        """
        try:
            await self._ask("stop", now=now, wait=False)
        except RequestFailed:
            raise
        except ControlError:
            pass  # it has ended, or is just ending
        return await self.wait()

    async def wait(self) -> int:
        """Wait until the cluster has ended, by whomever; return the primary's exit code.

        0 for a stop; 143 when it was told to end at once; -9 when the primary was killed.
        """
        return await self._child.ended()

    def events(self, *, since: int | None = None) -> Reader[Event]:
        """Iterate over what happens from this call on, until the cluster has ended.

        With ``since`` the kept events (the last 1000) after that number come first; 0 is from the
        start. Who is 1000 events behind gets `ControlError` in place of those that were missed.
        """
        past = () if since is None else [each for each in self._past if each.sequence > since]
        return self._feed.read(past)

    # For `launch` alone

    async def start(self, limit: float | None) -> None:
        """Return once all workers serve. Raises `ConfigError` or `CouldNotStart`."""
        try:
            async with asyncio.timeout(limit) as clock:
                await self._start()
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise CouldNotStart(f"the cluster was not ready after {limit:g} s") from error

    async def close(self) -> None:
        """Stop, if that is still to be done; cancelled, cut everything. Nothing is left then."""
        try:
            await self.stop()
        finally:
            await self.close_at_once()

    async def close_at_once(self) -> None:
        """Cut everything, if anything is left."""
        try:
            await self._child.end_at_once()
        finally:
            if self._tasks:
                # All has been said, and is to be read.
                await asyncio.wait(self._tasks, timeout=_LAST_WORDS)
            self._feed.end()
            self._post.end()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self) -> None:
        self.directory = await self._child.directory()
        self.name = self.directory.name
        news = self._feed.read()
        self._tasks.append(asyncio.create_task(self._follow(), name="tercio-events"))
        self._tasks.append(asyncio.create_task(self._listen(), name="tercio-messages"))
        async for event in news:
            if event.kind == "ClusterReady":
                break
            if event.kind in _FAILURES:
                traceback = text(event.fields, "traceback")
                raise CouldNotStart("\n".join(filter(None, (event.text, traceback.rstrip()))))
        else:
            raise CouldNotStart(f"the primary ended with {await self.wait()} while it started")
        urls = (await self.status()).get("listeners")
        self.addresses = tuple(map(str, urls)) if isinstance(urls, list) else ()
        self._tasks.append(asyncio.create_task(self._keep_up(), name="tercio-workers"))

    async def _change(self, what: str, **arguments: object) -> Message:
        try:
            return await self._ask(what, **arguments)
        finally:
            self._changed.set()
            if not self._feed.is_over and not _is_cancelled():
                await self.status()

    async def _ask(self, what: str, **arguments: object) -> Message:
        return await ask(self.directory, what, arguments)

    async def _follow(self) -> None:
        """Pass on all events until the cluster ends."""
        try:
            async with aclosing(converse(self.directory, "events", {"since": 0})) as said:
                async for message in said:
                    if isinstance(message, Told):
                        self._take(Event.of(message.event))
        except TercioError:
            pass  # it is gone; who waits for events learns it by their end
        finally:
            self._feed.end()
            self._changed.set()

    async def _listen(self) -> None:
        """Pass on all messages of workers until the cluster ends."""
        try:
            async with aclosing(converse(self.directory, "messages", {})) as said:
                async for message in said:
                    if isinstance(message, Told):
                        self._hear(message.event)
        except TercioError:
            pass  # it is gone
        finally:
            self._post.end()

    def _hear(self, values: Message) -> None:
        self.messages_missed = int(number(values, "missed") or 0)
        slot, _, incarnation = text(values, "worker").partition(".")
        with suppress(WrongType, ValueError):  # a worker can write what it wants into its channel
            value = unpack(text(values, "body"))
            letter = WorkerMessage(int(slot), int(incarnation), value)
            if self._unread is not None:
                self._unread.append(letter)
            self._post.put(letter)

    def _take(self, event: Event) -> None:
        if event.kind != "Statistics":
            self._past.append(event)
            self._changed.set()
        self._feed.put(event)

    async def _keep_up(self) -> None:
        """Look at the workers when something has happened, not more often than `_REST`."""
        while not self._feed.is_over:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.status()
            except ControlError:
                continue  # it ends; without news there is nothing to look at again
            await asyncio.sleep(_REST)
        self._workers = ()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
