"""The tokens of the admin API, as the primary reads them: their file may be closed to us."""

import asyncio
import logging
from typing import Final

from tercio.settings.tokens import Token
from tercio.sidecar.control import Control

SPACING: Final = 0.02
"""Seconds between two questions: strangers with wrong tokens are not to keep the primary busy."""

_log = logging.getLogger("tercio")


class Tokens:
    """What is in the file now; nothing while it is no good."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lock = asyncio.Lock()
        self._asked = -SPACING
        self._fault = ""
        self.known: tuple[Token, ...] = ()

    async def look(self) -> None:
        """Bring `known` up to date. Raises `OSError`, `TimeoutError` and `ControlError`."""
        loop = asyncio.get_running_loop()
        came = loop.time()
        async with self._lock:
            if self._asked > came:
                return  # somebody else has asked since
            await asyncio.sleep(max(0.0, self._asked + SPACING - loop.time()))
            asked = loop.time()
            result = await self._control.ask("tokens")
            self._asked = asked
            found = result.get("tokens")
            pairs = found if isinstance(found, list) else []
            self.known = tuple(Token(scope, secret.encode()) for scope, secret in pairs)
            fault = str(result.get("fault", ""))
            if fault and fault != self._fault:
                _log.error("admin: nobody is let in: %s", fault)
            self._fault = fault
