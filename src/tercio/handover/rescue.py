"""Give connections that have something to say to other workers while this one's loop is blocked.

One thread. It rests as long as nothing waits for the loop, which the loop's own epoll tells it, and
then looks a few times: is the loop in a step of a task, and still in the same one? After 10 ms
(``--rescue-after``) the worker is marked as suspect, so that siblings give it nothing, and its idle
connections with bytes waiting are taken out of the loop and given away (`saving`), with requests
that were read and not begun; so is what lies in its inbox. Requests that have begun stay.

It does nothing as long as it is in doubt: about the time (`suspicion`), about a debugger, or about
whether this loop can be robbed at all (`trial`).
"""

import asyncio
import errno
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from tercio.dataplane.scoreboard import Field, Row
from tercio.handover.detaching import CannotDetach, Detacher
from tercio.handover.moments import Moment, Moments
from tercio.handover.mover import Mover
from tercio.handover.saving import Saver
from tercio.handover.suspicion import Suspicion
from tercio.handover.trial import prove
from tercio.system import held

_log = logging.getLogger("tercio.handover")

_NAP: Final = 0.04
"""Seconds between two looks, at the most, while something happens. Each takes the lock away from
the loop's thread, which on a busy machine may have to wait for it longer than the look takes."""

_SUSPICIOUS: Final = 0.02
"""The same, while the loop has not said that it turns."""

_SHORTEST: Final = 0.003

_WEARIEST: Final = 0.025
"""Seconds between two looks at a blocked loop from which nothing can be saved."""

_HASTE: Final = 0.0005
"""Seconds for which the loop's thread may keep the lock from a rescue: usually it is 5 ms."""

_SILENCE: Final = 10.0
"""Seconds between two notes."""

_NOTABLE: Final = 0.05
"""Seconds of a step that are worth one. What is shorter is counted only."""

_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Witness(Protocol):
    """What the worker knows of its main thread."""

    def is_excused(self) -> bool:
        """Whether it is slow on purpose: somebody debugs it."""

    def culprit(self) -> str:
        """Where it is."""

    def rely(self, *, on_us: bool) -> None:
        """Whether `hurry` is called from now on."""

    def hurry(self) -> None:
        """Something waits for it, and it is in one step."""


class Rescue:
    """Of one worker. Made and started in its loop."""

    def __init__(
        self,
        mover: Mover,
        row: Row,
        after: float,
        witness: Witness,
        note: Callable[[str, str], None],
    ) -> None:
        self._mover = mover
        self._exchange = mover.exchange
        self._row = row
        self._witness = witness
        self._note = note
        self._noted = -_SILENCE
        self._suspicion = Suspicion(after)
        self._nap = min(max(after / 2, _SHORTEST), _NAP)
        self._short = min(max(after / 3, _SHORTEST), _SUSPICIOUS)
        self._is_asked = False  # to say that it has turned; the loop unsets it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._detacher: Detacher | None = None
        self._saved: object = None  # the step that connections were last saved from
        self._count = 0  # connections that were saved from it

    async def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, if this loop is of a kind that allows it. Raises `CannotDetach`."""
        detacher = Detacher(loop)
        moments = Moments(loop)
        try:
            await prove(loop, detacher, moments)
            state = held.ThreadState(threading.get_native_id())
        except (CannotDetach, OSError) as error:
            detacher.close()
            if isinstance(error, CannotDetach):
                raise
            raise CannotDetach(f"the state of threads cannot be read: {error}") from error
        self._loop = loop
        self._detacher = detacher
        self._saver = Saver(self._mover, loop, detacher)
        self._moments = moments
        self._state = state
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._stop_end, self._wake_end = os.pipe()
        self._epoll = detacher.epoll
        self._poll = select.poll()
        self._poll.register(self._epoll, select.POLLIN)
        self._poll.register(self._stop_end, select.POLLIN)
        threading.Thread(target=self._run, name="tercio-rescue", daemon=True).start()
        self._witness.rely(on_us=True)

    def stop(self) -> None:
        """Do nothing more. In the loop."""
        if self._loop is not None:
            self._loop = None
            self._witness.rely(on_us=False)
            os.write(self._wake_end, b"x")
            self._row[Field.SUSPECT] = 0

    def fds(self) -> list[int]:
        """What a fork by the application must not keep."""
        if self._loop is None or self._detacher is None:
            return []
        return [*self._detacher.fds(), self._stop_end, self._wake_end]

    # The thread

    def _run(self) -> None:
        try:
            while (loop := self._loop) is not None and self._rest():
                try:
                    self._watch(loop)
                except OSError as error:
                    if error.errno not in _SHORT:
                        raise
                    time.sleep(_WEARIEST)  # descriptors or memory ran out, for now
        except CannotDetach as error:
            self._give_up(str(error))
        except Exception as error:
            _log.exception("the rescue failed")
            self._give_up(repr(error))

    def _give_up(self, reason: str) -> None:
        self._loop = None
        self._witness.rely(on_us=False)
        self._row[Field.SUSPECT] = 0
        self._note("warning", f"connections are not rescued from blocks any more: {reason}")

    def _rest(self) -> bool:
        """Until something waits for the loop. False: no more."""
        self._saved = None
        self._suspicion.begin(None, 0.0, 0.0)  # it holds a task that may be over
        return self._is_waited_for(None)

    def _is_waited_for(self, limit: float | None) -> bool:
        """Whether the loop has something to do within a limit; False also for the end of it all."""
        found = dict(self._poll.poll(limit))
        return self._stop_end not in found and found.get(self._epoll, 0) == select.POLLIN

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        nap = self._nap
        weary = self._short
        was_asked = False
        while self._loop is not None:
            due = time.monotonic() + nap
            time.sleep(nap)
            moment = self._moments.now()
            has_turned = was_asked and not self._is_asked
            nap = self._short
            if moment is None:
                if not self._is_waited_for(0):
                    return
                nap = self._short if self._is_asked else self._nap
            elif has_turned:
                nap = self._nap  # it need not be asked again at once
            elif not self._is_blocked(loop, moment, due):
                weary = self._short
            elif not self._save_all(moment):
                nap = weary = min(2 * weary, _WEARIEST)
            was_asked = self._is_asked

    def _is_blocked(self, loop: asyncio.AbstractEventLoop, moment: Moment, due: float) -> bool:
        now = time.monotonic()
        used = time.clock_gettime(self._clock)
        if self._is_asked:
            # The same task and no turn in between: the same step, as a task's next one is put
            # behind what the loop was asked to call.
            is_asleep = self._state.is_asleep()
            return self._suspicion.look(moment.step, now, due, used, is_asleep)
        self._is_asked = True
        self._witness.hurry()
        self._suspicion.begin(moment.step, now, used)
        with suppress(RuntimeError):  # closed: the worker is ending
            loop.call_soon_threadsafe(self._turned)
        return False

    def _turned(self) -> None:
        """In the loop."""
        self._is_asked = False
        self._row[Field.SUSPECT] = 0

    def _save_all(self, moment: Moment) -> bool:
        """Whether anything was moved."""
        if self._saved is not moment.step and self._witness.is_excused():
            return False
        if self._saved is not moment.step:
            self._count = 0
        if not self._row[Field.SUSPECT]:
            since = time.monotonic_ns() - int(self._suspicion.witnessed * 1e9)
            self._row[Field.SUSPECT] = since
            if not self._is_asked:
                self._row[Field.SUSPECT] = 0  # it turned in this very moment
        usual = sys.getswitchinterval()
        sys.setswitchinterval(min(_HASTE, usual))
        try:
            # What siblings have sent here for the sake of its session has to wait for us.
            has_sessions = self._mover.server.router is not None
            forwarded = 0 if has_sessions else self._exchange.forward()
            saved = self._saver.save(moment)
        finally:
            sys.setswitchinterval(usual)
        if saved and self._saved is not moment.step:
            self._saved = moment.step
            self._row[Field.RESCUES] += 1
        self._count += saved
        if self._count and self._suspicion.witnessed >= _NOTABLE:
            self._tell(self._count)
        return bool(saved or forwarded)

    def _tell(self, saved: int) -> None:
        now = time.monotonic()
        if now - self._noted >= _SILENCE:
            self._noted = now
            self._note(
                "info",
                f"gave {saved} connections away, which waited for {self._witness.culprit()} "
                "(see --rescue)",
            )
