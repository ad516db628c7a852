"""Redis for the suite of `tests/state`. Its clock is the server's: time passes by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tercio.engines.redis.state import RedisState
from tercio.engines.redis.url import Address
from tests.engines.redis.buses import server_of_a_test


@asynccontextmanager
async def fresh_state() -> AsyncIterator[RedisState]:
    async with server_of_a_test() as server:
        # A machine that is slow for a moment must not make a test red.
        state = RedisState(Address.parse(f"{server.url}?timeout=10s"))
        yield state
        await state.close()
        await asyncio.sleep(0)
