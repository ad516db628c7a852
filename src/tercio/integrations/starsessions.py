"""Sessions of starsessions in the state that all workers share.

`tercio.sessions.SessionMiddleware` does more (ids that are rotated, parallel requests merged); this
is for who has starsessions already.
"""

from typing import Final

from starsessions import SessionStore

from tercio.errors import ConfigError
from tercio.integrations.space import Space, fitting

_MONTH: Final = 30 * 86400


class TercioStore(SessionStore):
    """``SessionMiddleware(store=TercioStore(), …)``."""

    def __init__(self, gc_ttl: float = _MONTH, *, name: str = "") -> None:
        """``gc_ttl``: seconds that a session without an end of its own (one that ends with the
        browser) is kept after its last change. Stores of another ``name`` share nothing.

        Raises `ConfigError` for what is no time, and `ValueError` for a name with a colon.
        """
        if not 0 < gc_ttl < float("inf"):
            raise ConfigError(f"gc_ttl={gc_ttl}: expected seconds above 0")
        self._gc_ttl: Final = gc_ttl
        self._space: Final = Space("starsessions", name)

    async def read(self, session_id: str, lifetime: int) -> bytes:
        """The session, empty if there is none."""
        return await self._space.state.get(fitting(session_id), b"", type=bytes)

    async def write(self, session_id: str, data: bytes, lifetime: int, ttl: int) -> str:
        """Store a session for ``ttl`` seconds; with a ``lifetime`` of 0 for ``gc_ttl``."""
        seconds = self._gc_ttl if lifetime == 0 else max(1, ttl)
        await self._space.state.set(fitting(session_id), data, ttl=seconds)
        return session_id

    async def remove(self, session_id: str) -> None:
        """Forget a session."""
        await self._space.state.delete(fitting(session_id))
