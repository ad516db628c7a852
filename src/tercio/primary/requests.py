"""Answer control requests: each is a small conversation that ends with a result or an error."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from tercio.core import inputs
from tercio.core.cluster import Cluster
from tercio.core.events import (
    ReloadCommitted,
    ReloadRefused,
    ReloadRejected,
    ScaleRefused,
    SpawnFailed,
    Stopped,
    WorkerBootFailed,
    WorkerDied,
    WorkerDraining,
    WorkerKilled,
    WorkerServing,
)
from tercio.core.model import Phase, WorkerId
from tercio.dataplane.tails import Tails
from tercio.errors import ControlError, ExitCode
from tercio.primary.journal import Entry, Journal
from tercio.primary.letters import Letters
from tercio.primary.output import Output

_QUEUED_EVENTS: Final = 1000  # events a slow client may be behind; then it is told and cut off
_OUTPUT_PERIOD: Final = 0.2  # seconds between two looks at what workers wrote

Emit = Callable[[Mapping[str, object]], Awaitable[None]]


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


@dataclass(frozen=True, slots=True)
class _Change:
    """What a request waits for: that something is so in these slots."""

    slots: Collection[int]
    is_done: Callable[[], bool]
    needs_start: Callable[[], bool]
    """Whether a worker must still be started for it."""
    limit: float
    outlook: str
    """How things go on when it cannot be done now."""


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
            # All slots, not the new ones alone: it may be an old one that cannot start.
            slots = range(target)
            change = _Change(
                slots,
                is_done=partial(_is_settled, cluster, target),
                needs_start=lambda: not all(cluster.slot(number).present for number in slots),
                limit=_longest(cluster, 1),
                outlook="it is tried again for as long as the cluster runs",
            )
            await self._until(entries, change)
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

            change = _Change(
                slots,
                is_done=lambda: not any(_serves(cluster, who) for who in old),
                needs_start=lambda: any(_is_alone(cluster, who) for who in old),
                limit=_longest(cluster, _retiring_count(cluster)),
                outlook="the old worker serves on",
            )
            await self._until(entries, change)
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

    async def _until(self, entries: AsyncIterator[Entry], change: _Change) -> None:
        """Show events until a change is done.

        A worker that cannot start in its slots ends the wait, and so does a breaker that lets none
        start, and its time limit.
        """
        try:
            async with asyncio.timeout(change.limit) as clock:
                await self._watch(entries, change)
        except TimeoutError as error:
            if not clock.expired():
                raise  # the client reads nothing
            raise ControlError(f"not done after {change.limit:g} s; {change.outlook}") from error

    async def _watch(self, entries: AsyncIterator[Entry], change: _Change) -> None:
        cluster = self._runtime.cluster
        # Workers whose end is no failure to start: they have served, or were told to go, perhaps
        # by an earlier change.
        started = {
            w.id for w in cluster.workers() if w.serving_at is not None or w.phase.is_leaving
        }
        while not change.is_done():
            # With nobody left to serve, the breaker holds nothing back.
            if cluster.breaker.is_open and cluster.has_survivor() and change.needs_start():
                deaths = len(cluster.breaker.deaths)
                raise ControlError(
                    f"starts are held back after {deaths} early deaths (see `tercio status`; "
                    f"`tercio reload` tries at once); {change.outlook}"
                )
            entry = await anext(entries, None)
            if entry is None:
                raise ControlError("the cluster stopped before this was done")
            await self._emit({"event": entry.to_json()})
            match entry.event:
                case WorkerServing(worker=who) | WorkerDraining(worker=who):
                    started.add(who)
                case (
                    WorkerBootFailed(worker=who)
                    | SpawnFailed(worker=who)
                    | WorkerKilled(worker=who)
                    | WorkerDied(worker=who)
                ) if who.slot in change.slots and who not in started:
                    raise ControlError(f"{entry.event.text}; {change.outlook}")
                case _:
                    pass

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


def _serves(cluster: Cluster, who: WorkerId) -> bool:
    worker = cluster.find(who)
    return worker is not None and not worker.phase.is_leaving


def _is_settled(cluster: Cluster, target: int) -> bool:
    if cluster.target != target:
        return True  # somebody else scaled meanwhile
    serving = [w for w in cluster.workers() if w.phase is Phase.SERVING]
    return len(serving) == target and all(w.id.slot < target for w in cluster.workers())


def _is_alone(cluster: Cluster, who: WorkerId) -> bool:
    """Whether a worker that is to be replaced has no successor yet."""
    return _serves(cluster, who) and len(cluster.slot(who.slot).present) == 1


def _retiring_count(cluster: Cluster) -> int:
    """How many seat changes are before us, ours among them: there is one at a time."""
    return sum(worker.retirement is not None for worker in cluster.workers())


def _longest(cluster: Cluster, turns: int) -> float:
    """How long ``turns`` seat changes may take, one after the other: the bounds of each wait."""
    policy = cluster.policy
    boot = policy.backoff_cap + policy.start_timeout + policy.ready_timeout + policy.kill_grace
    leave = policy.drain_timeout + policy.kill_grace
    limit = turns * (boot + policy.soak + leave)
    if cluster.rollout is not None:  # it goes first
        limit += cluster.rollout.policy.reload_limit(
            cluster.target, is_exact=cluster.rollout.is_exact
        )
    return limit
