"""Answer control requests: each is a small conversation that ends with a result or an error."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, Protocol

from tercio.core import inputs
from tercio.core.cluster import Cluster
from tercio.core.events import (
    ReloadCommitted,
    ReloadRefused,
    ReloadRejected,
    ScaleRefused,
    Stopped,
)
from tercio.dataplane.tails import Tails
from tercio.errors import ControlError, ExitCode
from tercio.primary.changes import Emit, recycled, scaled, until
from tercio.primary.journal import Entry, Journal
from tercio.primary.letters import Letters
from tercio.primary.output import Output

_QUEUED_EVENTS: Final = 1000  # events a slow client may be behind; then it is told and cut off
_OUTPUT_PERIOD: Final = 0.2  # seconds between two looks at what workers wrote


class Runtime(Protocol):
    """What requests need of the primary."""

    journal: Journal
    letters: Letters

    @property
    def cluster(self) -> Cluster: ...

    @property
    def tails(self) -> Tails | None: ...

    def tell(self, item: inputs.Input) -> None: ...

    async def status(self, memory_age: float) -> dict[str, object]: ...

    def health(self) -> dict[str, object]: ...

    def metrics(self) -> dict[str, object]: ...

    def describe_config(self) -> dict[str, object]: ...

    def ask_reload(self) -> int: ...

    def reopen_logs(self) -> None: ...

    async def dump(self, slot: int) -> str: ...


class Conversation:
    """One request of one client. ``emit`` sends it a line, and waits for a slow reader."""

    def __init__(self, runtime: Runtime, emit: Emit) -> None:
        self._runtime = runtime
        self._emit = emit

    async def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Carry out a request and return its result. Raises `ControlError`."""
        match request.get("do"):
            case "status":
                return await self._runtime.status(float(_whole(request, "memory_age", 0)))
            case "health":
                return self._runtime.health()
            case "metrics":
                return self._runtime.metrics()
            case "config":
                return self._runtime.describe_config()
            case "events":
                return await self._events(request)
            case "send":
                slot = _whole(request, "slot")
                return {"worker": str(await self._runtime.letters.send(slot, request.get("body")))}
            case "messages":
                return await self._runtime.letters.follow(self._emit)
            case "logs":
                return await self._logs(request)
            case "reload":
                return await self._reload(request)
            case "scale":
                return await self._scale(request)
            case "recycle":
                return await self._recycle(request)
            case "stop":
                return await self._stop(request)
            case "dump":
                slot = _whole(request, "slot")
                return {"slot": slot, "text": await self._runtime.dump(slot)}
            case other:
                raise ControlError(f"unknown request {str(other)[:40]!r}")

    async def _events(self, request: Mapping[str, object]) -> dict[str, object]:
        journal = self._runtime.journal
        since = _whole(request, "since", 0)
        async with self._entries() as entries:
            for entry in journal.since(since):
                await self._emit({"event": entry.to_json()})
            if follows(request):
                async for entry in entries:
                    await self._emit({"event": entry.to_json()})
        return {"newest": journal.newest}

    async def _logs(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster, tails = self._runtime.cluster, self._runtime.tails
        if tails is None:
            raise ControlError("this cluster keeps no output")
        asked = None if request.get("slot") is None else _whole(request, "slot")
        if asked is not None and asked not in {*cluster.slots, *tails.last}:
            raise ControlError(f"there is no slot {asked}")
        output, stopped = Output(tails), asyncio.Event()

        def look(entry: Entry) -> None:
            if isinstance(entry.event, Stopped):
                stopped.set()

        unsubscribe = self._runtime.journal.subscribe(look)
        try:
            while True:
                slots = sorted({*cluster.slots, *tails.last}) if asked is None else [asked]
                for piece in output.pieces(slots):
                    await self._emit({"event": piece})
                if not follows(request) or stopped.is_set():
                    return {}
                with suppress(TimeoutError):
                    # Memory cannot be waited for. It is looked at while somebody follows, only.
                    await asyncio.wait_for(stopped.wait(), _OUTPUT_PERIOD)
        finally:
            unsubscribe()

    async def _reload(self, request: Mapping[str, object]) -> dict[str, object]:
        async with self._entries() as entries:
            with self._refusals(ReloadRefused):
                number = self._runtime.ask_reload()
            if not _waits(request):
                return {"request": number}
            async for entry in entries:
                await self._emit({"event": entry.to_json()})
                match entry.event:
                    case ReloadCommitted() as event if number in event.requests:
                        return {"request": number, "generation": event.generation}
                    case ReloadRejected() as event if number in event.requests:
                        raise ControlError(event.text)
                    case _:
                        pass
        raise ControlError("the cluster stopped before the reload was done")

    async def _scale(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster = self._runtime.cluster
        target = _target(request.get("to"), cluster.target)
        async with self._entries() as entries:
            if cluster.stopping is not None:
                raise ControlError("the cluster is stopping")
            with self._refusals(ScaleRefused):
                self._runtime.tell(inputs.ScaleAsked(target))
            if not _waits(request):
                return {"target": cluster.target, "ready": cluster.ready_count()}
            await until(scaled(cluster, target), cluster, entries, self._emit)
        ready = cluster.ready_count()
        text = f"{ready} of {cluster.target} workers are ready"
        return {"target": cluster.target, "ready": ready, "text": text}

    async def _recycle(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster = self._runtime.cluster
        slots = _slots(request.get("slots"), cluster.target)
        async with self._entries() as entries:
            if cluster.stopping is not None:
                raise ControlError("the cluster is stopping")
            old = {worker.id for number in slots for worker in cluster.slot(number).serving}
            if not old:
                raise ControlError(f"no worker serves in slots {list(slots)}")
            replaced = [str(who) for who in sorted(old)]
            self._runtime.tell(inputs.RecycleAsked(slots))
            if not _waits(request):
                return {"replaced": replaced}
            await until(recycled(cluster, slots, old), cluster, entries, self._emit)
        return {"replaced": replaced, "text": f"replaced {', '.join(replaced)}"}

    async def _stop(self, request: Mapping[str, object]) -> dict[str, object]:
        async with self._entries() as entries:
            at_once = request.get("now") is True
            # Told twice the supervisor ends at once, as a second signal means it. A second polite
            # client joins the stop that runs.
            if at_once or self._runtime.cluster.stopping is None:
                self._runtime.tell(inputs.StopAsked(ExitCode.FORCED_TERM, at_once=at_once))
            if _waits(request):
                async for entry in entries:
                    await self._emit({"event": entry.to_json()})
                    if isinstance(entry.event, Stopped):
                        return entry.to_json()
        return {}

    @contextmanager
    def _refusals(self, kind: type[ReloadRefused | ScaleRefused]) -> Iterator[None]:
        """Raise the refusal that is published within: another client's is not ours."""
        refused: list[str] = []

        def keep(entry: Entry) -> None:
            if isinstance(entry.event, kind):
                refused.append(entry.event.text)

        unsubscribe = self._runtime.journal.subscribe(keep)
        try:
            yield
        finally:
            unsubscribe()
        if refused:
            raise ControlError(refused[0])

    @asynccontextmanager
    async def _entries(self) -> AsyncIterator[AsyncIterator[Entry]]:
        """The events from now on. A client that falls too far behind is cut off with an error."""
        queue: asyncio.Queue[Entry] = asyncio.Queue(_QUEUED_EVENTS)
        missed = 0

        def keep(entry: Entry) -> None:
            nonlocal missed
            if missed or queue.full():
                missed += 1
            else:
                queue.put_nowait(entry)

        async def iterate() -> AsyncIterator[Entry]:
            while True:
                if missed and queue.empty():
                    raise ControlError(f"missed {missed} events: this client reads too slowly")
                entry = await queue.get()
                yield entry
                if isinstance(entry.event, Stopped):
                    return

        unsubscribe = self._runtime.journal.subscribe(keep)
        try:
            yield iterate()
        finally:
            unsubscribe()


def follows(request: Mapping[str, object]) -> bool:
    """Whether a request stays for what is still to happen."""
    if request.get("do") == "messages":
        return True
    default = {"events": True, "logs": False}.get(str(request.get("do")))
    return default is not None and bool(request.get("follow", default))


def _waits(request: Mapping[str, object]) -> bool:
    return request.get("wait", True) is not False


def _whole(request: Mapping[str, object], key: str, default: int | None = None) -> int:
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ControlError(f"{key!r} must be a whole number")
    return value


def _target(asked: object, now: int) -> int:
    text = str(asked)
    if not re.fullmatch("[+-]?[0-9]{1,9}", text, re.ASCII):
        raise ControlError(f"cannot scale to {text[:40]!r}: give 8, +1 or -1")
    return now + int(text) if text[0] in "+-" else int(text)


def _slots(asked: object, target: int) -> tuple[int, ...]:
    if asked == "all":
        return tuple(range(target))
    if not isinstance(asked, list) or not all(type(number) is int for number in asked):
        raise ControlError("'slots' must be a list of slot numbers or \"all\"")
    for number in asked:
        if not 0 <= number < target:
            raise ControlError(f"there is no slot {number}: slots are 0 to {target - 1}")
    return tuple(asked)
