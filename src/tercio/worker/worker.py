"""The life of a worker: import, start-up, readiness, serving and parking, drain, end.

It does what the primary says and reports what happens; when to serve and when to leave is decided
there. Orders are kept as what is wanted now, not as a list: the last of serve and park holds, and
a drain is for good.
"""

import asyncio
import logging
import os
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, cast

from tercio import cluster, redaction
from tercio.dataplane.scoreboard import Field, Scoreboard, WorkerPhase
from tercio.errors import (
    AppNotFound,
    AppStartFailed,
    ConfigError,
    CouldNotStart,
    ExitCode,
)
from tercio.handover.exchange import Exchange
from tercio.handover.sticky import Sticky
from tercio.hooks import HookedWorker
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.logs import LogStreams
from tercio.servers import choice, tasks
from tercio.servers.entrance import Turns
from tercio.servers.port import Cut, Server
from tercio.worker import (
    collecting,
    descriptors,
    endings,
    fingerprint,
    forks,
    importer,
    loops,
    readiness,
    stacks,
    threads,
    turning,
)
from tercio.worker.bootfailure import BootFailure
from tercio.worker.clipping import ERROR_LIMIT, PATH_LIMIT, STACK_LIMIT, clip, clip_line
from tercio.worker.lifehooks import LifeHooks
from tercio.worker.link import Link
from tercio.worker.loaded import Loaded
from tercio.worker.otherslots import OtherSlots
from tercio.worker.overdue import OverdueRequests
from tercio.worker.record import BootRecord
from tercio.worker.transfers import Transfers
from tercio.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from tercio.servers.callable import CallableServer

_log = logging.getLogger("tercio.worker")

_FAREWELL: Final = 5.0  # seconds for the shut-down of a worker that could not start
_FLUSH: Final = 1.0  # seconds for the last messages


@dataclass(frozen=True, slots=True)
class _Leave:
    """The primary's order to drain."""

    limit: float
    close_code: int
    close_at_once: bool
    heirs: tuple[int, ...] | None = None
    """Seats that connections go to, before any other; None: to nobody."""
    reason: str = ""


class Worker:
    """One worker, from its boot record to its exit code."""

    def __init__(
        self,
        record: BootRecord,
        link: Link,
        hooks: Hooks,
        watchdog: Watchdog,
        streams: LogStreams,
        scoreboard: Scoreboard,
        turns: Turns,
        exchange: Exchange | None = None,
        sticky: Sticky | None = None,
        loaded: Loaded | None = None,
    ) -> None:
        self._loaded = loaded
        self._record = record
        self._row = scoreboard.row(record.seat)
        self._config = record.config
        self._link = link
        self._hooks = hooks
        self._watchdog = watchdog
        self._streams = streams
        self._born = time.monotonic()
        self._is_importing = True
        self._is_wanted = False  # serve, not park
        self._leave: _Leave | None = None
        self._ordered = asyncio.Event()
        self._drains: asyncio.TaskGroup | None = None
        self._boot: asyncio.Task[None] | None = None
        self._cut = Cut()
        self._server: Server = choice.make(record.config, link.note, turns)
        self._over: int | None = None  # with what a callable has ended by itself
        if record.config.interface == "callable":
            cast("CallableServer", self._server).over = self._end_by_itself
        self._server.certified = self._certified
        self._transfers = Transfers(self._server, exchange, sticky)
        self._listeners = [socket.socket(fileno=fd) for fd in record.own]
        self._other_slots = OtherSlots(record, scoreboard, self._server)
        who = HookedWorker(
            record.name, record.slot, record.incarnation, record.generation, os.getpid()
        )
        self._life_hooks = LifeHooks(record.config, who, self._row, link.note)
        self._overdue = OverdueRequests(self._row, link)

    def run(self) -> int:
        """Live. Returns the exit code; the process should end then."""
        try:
            factory = loops.factory(self._config.loop)
        except ConfigError as error:
            return self._end(self._report(BootFailure("options", str(error))))
        with asyncio.Runner(loop_factory=factory) as runner:
            self._loop = runner.get_loop()
            forks.clean_children(self._owned_fds)
            try:
                with threads.explained():
                    self._link.listen(self._receive)
                app = self._import()
            except CouldNotStart as error:
                return self._end(self._report(BootFailure("limits", str(error))))
            except BootFailure as failure:
                return self._end(self._report(failure))
            self._is_importing = False
            redaction.learn_environ(os.environ)
            self._streams.restore()  # an import that configures logging silences other loggers
            life = tasks.hide(self._loop.create_task(self._live(app), name="tercio-life"))
            code = turning.turn(self._loop, life)
            return self._end(code)

    def _end_by_itself(self, code: int) -> None:
        self._over = code
        self._ordered.set()

    def _certified(self, expires: int) -> None:
        self._row[Field.TLS_EXPIRES] = expires

    def _end(self, code: int) -> int:
        self._link.flush(_FLUSH)
        return endings.leave(code, endings.NO_PATIENCE if self._cut else endings.PATIENCE)

    # Orders. The first three methods run in the link's thread.

    def _receive(self, message: dict[str, object]) -> None:
        match message.get("type"):
            case "dump":
                text = stacks.dump(self._title(), self._loop)
                self._link.send({"type": "dump", "id": message.get("id"), "text": text})
            case "letter":
                refusal = cluster.worker.post.deliver(str(message.get("body")))
                self._link.send({"type": "receipt", "id": message.get("id"), "refusal": refusal})
            case "reopen_logs":
                for problem in self._streams.reopen():
                    self._link.note("warning", f"log lines go on into the old file: {problem}")
            case "drain" if self._is_importing:
                # The main thread is inside the application's import: nothing is there to finish.
                os._exit(ExitCode.STOPPED)
            case "serve" | "park" | "drain" | "steal" | "give":
                with suppress(RuntimeError):  # it is closed: the process is ending
                    self._loop.call_soon_threadsafe(self._obey, message)
            case other:
                self._link.note("warning", f"worker {self._id} does not understand {other!r}")

    def _title(self) -> str:
        age = time.monotonic() - self._born
        return (
            f"Worker {self._id} (pid {os.getpid()}, generation {self._record.generation}, "
            f"{age:.0f} s old)"
        )

    @property
    def _id(self) -> str:
        return f"{self._record.slot}.{self._record.incarnation}"

    def _obey(self, message: dict[str, object]) -> None:
        """In the loop."""
        match message:
            case {"type": "drain", "timeout": int() | float() as limit, "close_code": int(code)}:
                heirs = message.get("heirs")
                self._leave = _Leave(
                    float(limit),
                    code,
                    bool(message.get("close_at_once")),
                    tuple(heirs) if isinstance(heirs, list) else None,
                    str(message.get("reason", "")),
                )
                cluster.worker.post.close()
                cluster.end_work(self._leave.limit)
                if self._boot is not None:
                    self._boot.cancel()  # no effect once it is done
                if self._drains is not None:
                    tasks.hide(self._drains.create_task(self._drain(self._leave)))
            case {"type": "serve"}:
                self._is_wanted = True
            case {"type": "park"}:
                self._is_wanted = False
            case {"type": "give", "count": int(count), "to": int(seat)}:
                if self._leave is None:
                    self._transfers.owe(count, seat)
                return
            case {"type": "steal", "slot": int(slot), "count": int(count)}:
                self._other_slots.steal(slot, count)
                return
            case _:
                _log.error("an order cannot be understood: %r", message)
        self._ordered.set()

    # The stages

    def _import(self) -> App:
        pid = os.getpid()
        ours = descriptors.identities(self._owned_fds())
        try:
            return self._load()
        finally:
            if os.getpid() != pid:
                # The application forked, and its child came back here: one worker is enough.
                error = sys.exc_info()[1]
                os._exit(turning.exit_code(error and (error.__context__ or error)))
            if fds := descriptors.lost(ours):
                self._give_up_for(fds)

    def _give_up_for(self, fds: list[int]) -> NoReturn:
        """End here: nothing of this process can be relied on any more."""
        listed = ", ".join(map(str, fds))
        text = (
            f"the import of {self._record.app} closed descriptors that are not its own ({listed}); "
            "does it call os.closerange?"
        )
        if self._record.channel in fds:
            with suppress(OSError):
                os.write(2, f"ERROR:    worker {self._id}: {text}\n".encode())
        else:
            self._report(BootFailure("import", text))
        os._exit(ExitCode.WORKER_BOOT_FAILED)

    def _load(self) -> App:
        config = self._config
        try:
            if self._loaded is not None:
                found = self._loaded.app
            else:
                found = importer.load(self._record.app, config.app_dir, factory=config.factory)
            self._life_hooks.load()
            return self._overdue.adapt(found, config)
        except ConfigError as error:
            raise BootFailure("options", str(error)) from None
        except AppNotFound as error:
            raise BootFailure("import", str(error)) from None
        except BaseException as error:  # also SystemExit: an import may call sys.exit
            gist = importer.in_a_line(error)
            raise BootFailure("import", gist, importer.explain(error)) from None

    async def _live(self, app: App) -> int:
        if self._leave is None:
            self._boot = tasks.hide(asyncio.create_task(self._start(app), name="tercio-boot"))
            await asyncio.wait({self._boot})
        if self._boot is None or self._boot.cancelled():
            if self._leave is None:
                by_app = "the application cancelled the task that asked it for --ready-path"
                return await self._give_up(BootFailure("ready", by_app))
            await self._server.stop()  # told to go before it could serve
            self._life_hooks.leave(self._leave.reason, self._leave.limit)
            await self._life_hooks.run("exit")
            return ExitCode.STOPPED
        if (error := self._boot.exception()) is not None:
            return await self._give_up(error)
        self._watchdog.watch(self._loop)
        self._other_slots.watch(self._loop)
        self._watchdog.beside = self._other_slots.look
        note = self._link.note
        await self._transfers.begin_rescue(self._row, self._config, note, self._watchdog)
        while self._leave is None:
            if self._over is not None:
                await self._part()
                return self._over
            self._ordered.clear()
            is_wanted = self._is_wanted
            await (self._server.serve() if is_wanted else self._server.park())
            # When it is done: who reads that a worker is parked may rely on it.
            self._row[Field.PHASE] = WorkerPhase.SERVING if is_wanted else WorkerPhase.PARKED
            cluster.work(is_serving=is_wanted)
            await self._ordered.wait()
        self._row[Field.PHASE] = WorkerPhase.DRAINING
        self._transfers.shut(for_good=self._leave.heirs is None)
        self._life_hooks.leave(self._leave.reason, self._leave.limit)
        async with asyncio.TaskGroup() as beside:
            tasks.hide(beside.create_task(self._life_hooks.run("drain")))
            await self._drain_all(self._leave)
            await cluster.work_ended()
        self._watchdog.unwatch()
        self._transfers.end_rescue()
        await self._part()
        return ExitCode.STOPPED

    async def _part(self) -> None:
        """Run the application's end, and give up what others may still want."""
        await self._server.stop()
        self._transfers.close()
        await self._life_hooks.run("exit")
        await cluster.leave()  # after the lifespan's end, which may still have something to say

    async def _start(self, app: App) -> None:
        try:
            await self._life_hooks.start()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise BootFailure("hook", importer.in_a_line(error), importer.explain(error)) from None
        self._transfers.prepare()
        try:
            await self._server.start(app, self._listeners, self._hooks)
        except ConfigError as error:
            raise BootFailure("options", str(error)) from None
        except AppStartFailed as error:
            notes = "\n".join(getattr(error, "__notes__", ()))
            cause = error.__cause__
            text = importer.explain(cause) if cause is not None else notes
            is_callable = self._config.interface == "callable"
            stage = "main" if is_callable else "lifespan"
            raise BootFailure(stage, str(error), text) from None
        self._transfers.open(self._loop, self._config)
        cluster.start()
        collecting.settle()
        files = self._loaded.fingerprint if self._loaded is not None else fingerprint.take()
        self._link.send({"type": "loaded", "seconds": self._age(), "fingerprint": files})
        await readiness.wait(self._server, self._config)
        await self._life_hooks.run("ready")
        self._link.send({"type": "ready", "seconds": self._age()})

    async def _drain_all(self, first: _Leave) -> None:
        async with asyncio.TaskGroup() as self._drains:
            drained = tasks.hide(self._drains.create_task(self._drain(first)))
        self._drains = None
        self._cut = cut = drained.result()
        if cut:
            self._link.send(
                {
                    "type": "cut",
                    "requests": cut.requests,
                    "websockets": cut.websockets,
                    "paths": [clip_line(path, PATH_LIMIT) for path in cut.paths],
                }
            )

    async def _drain(self, order: _Leave) -> Cut:
        cluster.end_work(order.limit)
        away = self._transfers.depart(order.heirs)
        return await self._server.drain(
            order.limit, self._config.drain_quiet, order.close_code, order.close_at_once, away
        )

    async def _give_up(self, error: BaseException) -> int:
        if not isinstance(error, BootFailure):
            text = "".join(traceback.format_exception(error))
            error = BootFailure("lifespan", importer.in_a_line(error), text)
        code = self._report(error)
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._server.stop()
        except TimeoutError:
            _log.error("the application's shut-down took longer than %g s", _FAREWELL)
        self._life_hooks.leave("failed", _FAREWELL)
        await self._life_hooks.run("exit")
        return code

    def _report(self, failure: BootFailure) -> int:
        redaction.learn_environ(os.environ)  # the application may have read a file of them
        self._link.send(
            {
                "type": "failed",
                "stage": failure.stage,
                "error": clip_line(failure.error, ERROR_LIMIT),
                "traceback": clip(failure.traceback, STACK_LIMIT),
            }
        )
        self._link.flush(_FLUSH)  # now: what comes next may hang
        return ExitCode.WORKER_BOOT_FAILED

    def _age(self) -> float:
        return round(time.monotonic() - self._born, 3)

    def _owned_fds(self) -> list[int]:
        return [
            *self._record.fds,
            *self._link.fds(),
            *forks.loop_fds(self._loop),
            *self._server.owned_fds(),
            *self._transfers.fds(),
        ]
