"""Ask the sentinels where the master is, and the master whether it is one."""

import asyncio

from tercio.engines.redis.handshake import Refused, ask, open_wire
from tercio.engines.redis.url import Address
from tercio.engines.redis.wire import Wire
from tercio.errors import StateUnavailable


async def find_master(address: Address) -> tuple[str, int]:
    """Where the master is. Raises `Refused` when no sentinel knows it.

    All are asked at once and the first good answer wins: one that hangs must not cost a second.
    """
    asked = [asyncio.ensure_future(_ask_one(address, host)) for host in address.hosts]
    reasons: list[str] = []
    try:
        for answer in asyncio.as_completed(asked):
            try:
                return await answer
            except (OSError, Refused, StateUnavailable) as error:
                reasons.append(str(error) or type(error).__name__)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    raise Refused(f"no sentinel knows the master of {address.service!r}: {'; '.join(reasons)}")


async def check_master(wire: Wire) -> None:
    """Raises `Refused` if the server is no master (any more)."""
    role = await ask(wire, "ROLE")
    if not isinstance(role, list) or not role or role[0] != b"master":
        raise Refused("the sentinels named a server that is no master (a failover is under way)")


async def _ask_one(address: Address, host: tuple[str, int]) -> tuple[str, int]:
    wire = await open_wire(
        address,
        host,
        lambda: Wire(address.timeout, 1 << 20, lambda *_: None),
        user=address.sentinel_user,
        password=address.sentinel_password,
    )
    try:
        found = await ask(wire, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    finally:
        wire.end("done")
    match found:
        case [bytes() as name, bytes() as port] if port.isdigit():
            return name.decode("utf-8", "replace"), int(port)
    raise Refused(f"the sentinel at {host[0]}:{host[1]} knows no {address.service!r}")
