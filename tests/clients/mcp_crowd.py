"""The client of MCP's Python SDK, eight of it, at three workers: `scripts/test-clients` runs this.

Each keeps a session, in which its calls must meet the same worker and what it said before, though
each call may come over another connection. After a reload a session is unknown, which clients are
told, and new ones work.
"""

import asyncio

import httpx2  # type: ignore[import-not-found]  # what the SDK speaks HTTP with
from mcp import Client, MCPError  # type: ignore[import-not-found]
from mcp.client.streamable_http import streamable_http_client  # type: ignore[import-not-found]

from tercio.testing import Running, workers

CLIENTS = 8
CALLS = 10


async def call(client: Client, tool: str, **arguments: object) -> object:
    """What a tool answers."""
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise SystemExit(f"{tool}: {result.content}")
    return result.structured_content["result"]


async def use(client: Client, name: str) -> set[object]:
    """Make some calls of one session; the workers that answered."""
    homes = set()
    for number in range(CALLS):
        said = await call(client, "note", text=f"{name} {number}")
        if said != [f"{name} {before}" for before in range(number + 1)]:
            raise SystemExit(f"{name} {number}: the session has {said}")
        homes.add(await call(client, "where"))
        await call(client, "visits")
    return homes


async def talk(url: str, name: str) -> set[object]:
    """One client with a session; no connection of it lasts longer than a call."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(limits=limits, timeout=30) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode="legacy") as client:
            return await use(client, name)


async def crowd(url: str) -> None:
    """All of them at once."""
    homes = await asyncio.gather(*(talk(url, f"client {number}") for number in range(CLIENTS)))
    if any(len(each) != 1 for each in homes):
        raise SystemExit(f"a session was at several workers: {homes}")
    used = len(set().union(*homes))
    print(f"sessions           {CLIENTS} of {CLIENTS} clients, {CALLS} x 3 calls, {used} workers")


async def without_sessions(url: str) -> None:
    """Clients of the newer protocol: any worker answers."""

    async def one() -> set[object]:
        async with Client(url) as client:
            return {await call(client, "where") for _ in range(CALLS)}

    homes = await asyncio.gather(*(one() for _ in range(CLIENTS)))
    used = len(set().union(*homes))
    print(f"without sessions   {CLIENTS} of {CLIENTS} clients, {CALLS} calls, {used} workers")


async def over_a_reload(running: Running, url: str) -> None:
    """A session ends with its worker: the client is told, and another session works."""
    async with Client(streamable_http_client(url), mode="legacy") as client:
        await call(client, "where")
        before = set(running.pids())
        await asyncio.to_thread(running.reload)
        while before & {worker["pid"] for worker in running.status()["workers"]}:
            await asyncio.sleep(0.1)
        try:
            await call(client, "where")
        except MCPError as error:
            told = str(error)
        else:
            raise SystemExit("a session went on though its worker was gone")
    async with Client(streamable_http_client(url), mode="legacy") as client:
        await use(client, "another")
    print(f"after a reload     a session is told {told!r}, a new one works")


def main() -> None:
    with workers(
        "examples.mcp_server:app", 3, "--sticky", "header:mcp-session-id", "--stop-timeout", "1"
    ) as running:
        url = f"{running.url}/mcp"
        asyncio.run(crowd(url))
        asyncio.run(without_sessions(url))
        asyncio.run(over_a_reload(running, url))
        visits = asyncio.run(count(url))
        expected = (CLIENTS + 1) * CALLS + 1
        if visits != expected:
            raise SystemExit(f"{visits} visits were counted, not {expected}")


async def count(url: str) -> object:
    async with Client(url) as client:
        return await call(client, "visits")


if __name__ == "__main__":
    main()
