"""Answer control requests: each is a small conversation that ends with a result or an error."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

from tercio.core import inputs
from tercio.core.cluster import Cluster
from tercio.core.events import ReloadRefused, ScaleRefused, StartGivenUp, WorkerBootFailed
from tercio.core.model import Phase, WorkerId
from tercio.errors import ControlError
from tercio.primary.journal import Entry, Journal

_DUMP_WAIT: Final = 5.0  # seconds for a worker to answer with its stacks
_QUEUED_EVENTS: Final = 1000  # events a slow client may be behind; then it is told and cut off

Send = Callable[[Mapping[str, object]], "asyncio.Future[None] | None"]


class Runtime(Protocol):
    """What requests need of the primary."""

    journal: Journal

    @property
    def cluster(self) -> Cluster: ...

    def tell(self, item: inputs.Input) -> None: ...

    def status(self) -> dict[str, object]: ...

    def describe_config(self) -> dict[str, object]: ...

    def ask_reload(self) -> int: ...

    def reopen_logs(self) -> None: ...

    async def dump(self, slot: int) -> str: ...


class Conversation:
    """One request of one client. ``emit`` sends it a line."""

    def __init__(self, runtime: Runtime, emit: Callable[[dict[str, object]], object]) -> None:
        self._runtime = runtime
        self._emit = emit

    async def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Carry out a request and return its result. Raises `ControlError`."""
        match request.get("do"):
            case "status":
                return self._runtime.status()
            case "config":
                return self._runtime.describe_config()
            case "events":
                return await self._events(request)
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
                self._emit({"event": entry.to_json()})
            if request.get("follow", True):
                async for entry in entries:
                    self._emit({"event": entry.to_json()})
        return {"newest": journal.newest}

    async def _reload(self, request: Mapping[str, object]) -> dict[str, object]:
        async with self._entries() as entries:
            number = self._runtime.ask_reload()
            if not _waits(request):
                return {"request": number}
            async for entry in entries:
                self._emit({"event": entry.to_json()})
                fields = entry.to_json()
                requests = fields.get("requests")
                ours = isinstance(requests, list) and number in requests
                if entry.event.__class__.__name__ == "ReloadCommitted" and ours:
                    return {"request": number, "generation": fields["generation"]}
                if entry.event.__class__.__name__ == "ReloadRejected" and ours:
                    raise ControlError(entry.event.text)
                if isinstance(entry.event, ReloadRefused):
                    raise ControlError(entry.event.text)
        raise ControlError("the cluster stopped before the reload was done")

    async def _scale(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster = self._runtime.cluster
        target = _target(request.get("to"), cluster.target)
        async with self._entries() as entries:
            if cluster.stopping is not None:
                raise ControlError("the cluster is stopping")
            refused: list[ScaleRefused] = []
            unsubscribe = self._runtime.journal.subscribe(
                lambda entry: (
                    refused.append(entry.event) if isinstance(entry.event, ScaleRefused) else None
                )
            )
            self._runtime.tell(inputs.ScaleAsked(target))
            unsubscribe()
            if refused:
                raise ControlError(refused[0].text)
            if _waits(request):
                await self._until(entries, lambda: _is_settled(cluster, target), set())
        return {"target": cluster.target, "ready": cluster.ready_count()}

    async def _recycle(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster = self._runtime.cluster
        slots = _slots(request.get("slots"), cluster.target)
        async with self._entries() as entries:
            old = {worker.id for number in slots for worker in cluster.slot(number).serving}
            if not old:
                raise ControlError(f"no worker serves in slots {list(slots)}")
            self._runtime.tell(inputs.RecycleAsked(slots))
            if _waits(request):
                await self._until(
                    entries, lambda: not any(_serves(cluster, who) for who in old), set(slots)
                )
        return {"replaced": [str(who) for who in sorted(old)]}

    async def _stop(self, request: Mapping[str, object]) -> dict[str, object]:
        async with self._entries() as entries:
            self._runtime.tell(inputs.StopAsked(143, at_once=request.get("now") is True))
            if _waits(request):
                async for entry in entries:
                    self._emit({"event": entry.to_json()})
                    if entry.event.__class__.__name__ == "Stopped":
                        return entry.to_json()
        return {}

    async def _until(
        self, entries: AsyncIterator[Entry], is_done: Callable[[], bool], slots: set[int]
    ) -> None:
        """Show events until it is done; a worker that cannot start in ``slots`` ends it."""
        while not is_done():
            entry = await anext(entries, None)
            if entry is None:
                raise ControlError("the cluster stopped before this was done")
            self._emit({"event": entry.to_json()})
            event = entry.event
            if isinstance(event, WorkerBootFailed) and event.worker.slot in slots:
                raise ControlError(f"{event.text}; the old worker serves on")

    @asynccontextmanager
    async def _entries(self) -> AsyncIterator[AsyncIterator[Entry]]:
        """The events from now on. A client that falls too far behind is cut off with an error."""
        queue: asyncio.Queue[Entry | None] = asyncio.Queue(_QUEUED_EVENTS)

        def keep(entry: Entry) -> None:
            if not queue.full():
                queue.put_nowait(entry)

        async def iterate() -> AsyncIterator[Entry]:
            expected: int | None = None
            while True:
                entry = await queue.get()
                if entry is None:
                    return
                if expected is not None and entry.sequence != expected:
                    missed = entry.sequence - expected
                    raise ControlError(f"missed {missed} events: this client reads too slowly")
                expected = entry.sequence + 1
                yield entry
                if entry.event.__class__.__name__ == "Stopped":
                    return
                if isinstance(entry.event, StartGivenUp):
                    return

        unsubscribe = self._runtime.journal.subscribe(keep)
        try:
            yield iterate()
        finally:
            unsubscribe()


def _waits(request: Mapping[str, object]) -> bool:
    return request.get("wait", True) is not False


def _whole(request: Mapping[str, object], key: str, default: int | None = None) -> int:
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ControlError(f"{key!r} must be a whole number")
    return value


def _target(asked: object, now: int) -> int:
    text = str(asked).strip()
    try:
        return now + int(text) if text[:1] in "+-" else int(text)
    except ValueError as error:
        raise ControlError(f"cannot scale to {text[:40]!r}: give 8, +1 or -1") from error


def _slots(asked: object, target: int) -> tuple[int, ...]:
    if asked == "all":
        return tuple(range(target))
    if not isinstance(asked, list) or not all(isinstance(number, int) for number in asked):
        raise ControlError("'slots' must be a list of slot numbers or \"all\"")
    for number in asked:
        if not 0 <= number < target:
            raise ControlError(f"there is no slot {number}: slots are 0 to {target - 1}")
    return tuple(asked)


def _serves(cluster: Cluster, who: WorkerId) -> bool:
    worker = cluster.find(who)
    return worker is not None and not worker.phase.is_leaving


def _is_settled(cluster: Cluster, target: int) -> bool:
    if cluster.target != target:
        return True  # somebody else scaled meanwhile
    serving = [w for w in cluster.workers() if w.phase is Phase.SERVING]
    return len(serving) == target and all(w.id.slot < target for w in cluster.workers())
