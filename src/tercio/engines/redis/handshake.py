"""Open one connection and make it ours: where, TLS, who we are, which database.

Speaks RESP3 where the server knows it, else RESP2.
"""

import asyncio
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import hiredis

from tercio.engines.redis.url import Address
from tercio.engines.redis.wire import Argument, Reply, Wire


class Refused(Exception):
    """The server is there and does not take us; the message says why."""


@lru_cache(maxsize=8)
def tls_context(address: Address) -> ssl.SSLContext | None:
    """The address's own, read once: reading certificates takes a while and holds the loop."""
    return address.tls_context()


async def open_wire(
    address: Address,
    host: tuple[str, int] | None,
    make: Callable[[], Wire],
    *,
    user: str = "",
    password: str = "",
    name: str = "",
    db: int = 0,
) -> Wire:
    """An open connection to ``host``, or to the Unix socket. Raises `OSError` or `Refused`."""
    loop = asyncio.get_running_loop()
    context = tls_context(address)
    if host is None:
        _, wire = await loop.create_unix_connection(make, address.path)
    else:
        _, wire = await loop.create_connection(
            make, *host, ssl=context, server_hostname=host[0] if context else None
        )
    try:
        await _greet(wire, user, password, name, db)
    except BaseException:
        wire.end("the server did not take us")
        raise
    return wire


async def _greet(wire: Wire, user: str, password: str, name: str, db: int) -> None:
    hello: list[Argument] = ["HELLO", 3]
    if password or user:
        hello += ["AUTH", user or "default", password]
    try:
        reply = await ask(wire, *hello)
    except Refused as refusal:
        # A server before 6.0, or something between us and it, knows no HELLO; and of who has not
        # given a password yet it may not even say that.
        unknown = ("NOPROTO", "ERR", "NOAUTH") if password else ("NOPROTO", "ERR")
        if not str(refusal).startswith(unknown):
            raise
        if password:
            await ask(wire, "AUTH", *((user,) if user else ()), password)
    else:
        if _mode(reply) == b"cluster":
            raise Refused("it is a Redis Cluster, which is not supported; use Sentinel or one node")
    if db:
        await ask(wire, "SELECT", db)
    try:
        await ask(wire, "PING")
    except Refused as refusal:
        # LOADING, MASTERDOWN, NOAUTH: no use yet. A user may have no right to PING.
        if not str(refusal).startswith("NOPERM"):
            raise
    if name:
        try:
            await ask(wire, "CLIENT", "SETNAME", name)
        except Refused:
            pass  # A user may have no right to it, and it is only for whoever reads CLIENT LIST.


async def ask(wire: Wire, *command: Argument) -> Reply:
    """The reply. Raises `Refused` if it is an error."""
    reply = await wire.call(*command)
    if isinstance(reply, hiredis.ReplyError):
        raise Refused(str(reply))
    return reply


def _mode(hello: Reply) -> bytes:
    if isinstance(hello, dict):
        return cast("bytes", hello.get(b"mode", b""))
    return b""
