"""Hold something for a time, renew it in time, and notice when it is lost.

A lease is lost when nobody could renew it before its end: the process was stopped, the loop was
blocked, the store was away. Then another one may have it, so the body that relies on it is
cancelled and `LockLost` raised; what it did meanwhile can only be told apart by the token.
"""

import asyncio
import os
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tercio.errors import LockLost, LockTaken, StateError
from tercio.state.engine import StateEngine
from tercio.state.keys import checked_ttl, shown
from tercio.state.notifier import POLL, Notifier
from tercio.state.taking import take
from tercio.state.verbs import Acquire, Release, Renew

_RENEWALS: Final = 3  # within one time to live
_AGAIN: Final = 0.05  # seconds after a renewal that failed
_OWNER_BYTES: Final = 16


class Lease:
    """``async with`` it, once: one at a time has it. See `Lock` and `Leader`."""

    _what = "lease"

    def __init__(
        self,
        engine: StateEngine,
        notifier: Notifier,
        key: bytes,
        ttl: float,
        *,
        timeout: float | None = None,
        poll: float = POLL,
    ) -> None:
        self.lost: asyncio.Event = asyncio.Event()
        """Set when it is not ours any more although the body runs."""
        self._engine = engine
        self._notifier = notifier
        self._key = key
        self._ttl = ttl
        self._timeout = timeout
        self._poll = poll
        self._renewed = asyncio.Event()
        self._end = 0.0
        self._owner = os.urandom(_OWNER_BYTES)
        self._token: int | None = None
        self._body: asyncio.Task[object] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._cancels_before = 0
        self._has_cancelled = False

    @property
    def token(self) -> int:
        """The fencing token: higher than that of whoever had it before.

        Give it to what is written under the lease, and have lower ones refused there: the only
        guard against a holder that was stopped, lost the lease, and goes on.
        """
        if self._token is None:
            raise RuntimeError(f"the {self._what} has a token inside of `async with` only")
        return self._token

    async def renew(self, ttl: float | None = None) -> None:
        """Hold it for ``ttl`` more seconds, its own if None; done by itself as long as the loop
        turns. Raises `LockLost`, and `ValueError` for what is no time.
        """
        self._ttl = checked_ttl(ttl) or self._ttl
        end = asyncio.get_running_loop().time() + self._ttl
        if not await self._engine.run(Renew(self._key, self._owner, self._ttl)):
            self.lost.set()
            raise self._lost()
        self._end = end
        self._renewed.set()

    async def __aenter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError(f"a {self._what} is used once: ask for another one")
        self._token = await self._acquire()
        body = asyncio.current_task()
        assert body is not None, "a coroutine runs in a task"
        self._body, self._cancels_before = body, body.cancelling()
        self._renewing = asyncio.create_task(self._keep(), name=f"tercio-{self._what}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._renewing is not None
        assert self._body is not None
        self._renewing.cancel()
        if self._has_cancelled:
            is_only_ours = self._body.uncancel() <= self._cancels_before
            if is_only_ours and kind is asyncio.CancelledError:
                raise self._lost() from error
        if self.lost.is_set():
            if kind is None:
                raise self._lost()
            return
        try:
            was_ours = await self._engine.run(Release(self._key, self._owner))
        except StateError:
            if kind is None:
                raise
            return  # what the body raised comes first; the lease ends by itself
        self._notifier.notify(self._key)
        if not was_ours and kind is None:
            self.lost.set()
            raise self._lost()

    async def _acquire(self) -> int:
        verb = Acquire(self._key, self._owner, self._ttl)
        token = await self._take(verb)
        if token is not None:
            return token
        loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else loop.time() + self._timeout
        watch = self._notifier.watch(self._key)
        try:
            while (token := await self._take(verb)) is None:
                left = self._poll if deadline is None else deadline - loop.time()
                if left <= 0.0:
                    raise LockTaken(f"{shown(self._key)} was not free within {self._timeout:g} s")
                await watch.wait(min(left, self._poll))
        finally:
            watch.close()
        return token

    async def _take(self, verb: Acquire) -> int | None:
        self._end = asyncio.get_running_loop().time() + self._ttl
        return await take(self._engine.run(verb), self._give_back)

    async def _give_back(self, token: int) -> None:
        await self._engine.run(Release(self._key, self._owner))
        self._notifier.notify(self._key)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._ttl / _RENEWALS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._renewed.wait()
            if self._renewed.is_set():  # by the body, perhaps for less time than we would sleep
                self._renewed.clear()
                pause = self._ttl / _RENEWALS
                continue
            asked = loop.time()
            try:
                is_ours = await self._engine.run(Renew(self._key, self._owner, self._ttl))
                self._end, pause = asked + self._ttl, self._ttl / _RENEWALS
            except StateError:
                is_ours, pause = loop.time() < self._end, min(_AGAIN, self._ttl / _RENEWALS)
            if self.lost.is_set():
                return
            if not is_ours:
                break
        self.lost.set()
        self._has_cancelled = True
        assert self._body is not None
        self._body.cancel()

    def _lost(self) -> LockLost:
        return LockLost(
            f"{shown(self._key)} was lost: it was not renewed within its {self._ttl:g} s"
        )
