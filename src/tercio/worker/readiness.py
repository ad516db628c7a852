"""Wait until a worker whose application has started is able to serve, too."""

import asyncio
from typing import Final

from tercio import cluster
from tercio.config import Config
from tercio.errors import StateUnavailable
from tercio.servers.port import Server
from tercio.worker.bootfailure import BootFailure

_PROBE_AGAIN: Final = 0.25  # seconds between two readiness probes


async def wait(server: Server, config: Config) -> None:
    """Until all that the options ask for is there. Raises `BootFailure`."""
    if config.redis and config.redis_required:
        await _wait_for_redis(config.ready_timeout)
    if config.ready_path:
        await _wait_for_answer(server, config.ready_path, config.ready_timeout)


async def _wait_for_redis(limit: float) -> None:
    try:
        await cluster.reach(limit)
    except StateUnavailable as error:
        raise BootFailure(
            "ready", f"{error}, for {limit:g} s (see --redis-required, --ready-timeout)"
        ) from None


async def _wait_for_answer(server: Server, path: str, limit: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    answer = "did not answer"
    while loop.time() < deadline:
        try:
            async with asyncio.timeout_at(deadline):
                status = await server.probe(path)
                if 200 <= status < 400:
                    return
                answer = f"answered {status}"
                await asyncio.sleep(_PROBE_AGAIN)
        except TimeoutError:
            break
    raise BootFailure(
        "ready", f"GET {path} {answer} within {limit:g} s (see --ready-path, --ready-timeout)"
    )
