"""Prepare a fresh process to be the sidecar, then serve until the primary ends it."""

import asyncio
import dataclasses
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from tercio import __version__, logs
from tercio.config import Config
from tercio.dataplane.shared import Shared
from tercio.http.asgi import App
from tercio.servers.tercio import TercioServer
from tercio.sidecar.admin import Admin
from tercio.sidecar.control import Control
from tercio.sidecar.guard import Guard
from tercio.sidecar.health import Health
from tercio.sidecar.hooks import NoCounts
from tercio.sidecar.scrape import Scrape
from tercio.sidecar.tokens import Tokens
from tercio.system import identity, lifeline, signals

_CONNECTIONS = 256  # at each address: who opens more waits
_PEER_CONNECTIONS = 64  # of them for one address of clients: nobody is to keep the others out


def main(argv: list[str]) -> int:
    """Be the sidecar that the record behind descriptor ``argv[1]`` describes."""
    # The primary stops last what shows that it stops; log files are not this process' own.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signals.unblock_all()
    with open(int(argv[1]), "rb") as file:
        record: dict[str, Any] = json.loads(file.read())
    if record["version"] != __version__:
        sys.stderr.write("tercio: was upgraded while it ran; restart the cluster\n")
        return 1
    lifeline.watch(record["lifeline"])
    config = Config.from_json(record["options"])
    # To stderr, whatever files there are: those belong to the workers' user, who may have put a
    # link in their place, and this process may be root now.
    plain = dataclasses.replace(config, error_log_file="", access_log_file="")
    logs.configure(plain, "sidecar", fields={"slot": None, "generation": None})
    asyncio.run(_serve(record, config, Shared.attach(record["shared"])))
    return 0


async def _serve(record: dict[str, Any], config: Config, shared: Shared) -> None:
    pipe = socket.socket(fileno=record["pipe"])
    pipe.setblocking(False)
    control, scrape = Control(pipe), Scrape(shared)
    servers = []
    if record["health"]:
        app = Health(control, scrape)
        servers.append(await _started(app, Config(**_SERVER), record["health"]))
    if record["admin"]:
        # Without a file of tokens the address is this machine's: see `settings.admin`.
        guard = Guard(
            Tokens(control),
            config.admin_host,
            time.monotonic,
            reads_freely=not config.admin_token_file,
        )
        tls: dict[str, Any] = {
            "ssl_certfile": config.admin_ssl_certfile,
            "ssl_keyfile": config.admin_ssl_keyfile,
        }
        api = Admin(control, scrape, guard)
        servers.append(await _started(api, Config(**_SERVER, **tls), record["admin"]))
    # Nobody was heard before this.
    _give_up_rights(record)
    for server in servers:
        await server.serve()
    await asyncio.get_running_loop().sock_recv(pipe, 1)  # until the primary lets go
    os._exit(0)


def _give_up_rights(record: dict[str, Any]) -> None:
    """Become the workers' user, if they have one.

    By our own hand, not as we are started: the kernel then lets nobody of that user look into this
    process, who could use its way to the primary.
    """
    if user := record["user"]:
        os.setgroups(user["groups"])
        os.setresgid(*[user["gid"]] * 3)
        os.setresuid(*[user["uid"]] * 3)
    identity.lock(is_other=bool(user and user["uid"]))
    lifeline.set_parent_death(record["primary_pid"])  # changing the user has cleared it


_SERVER: dict[str, Any] = {
    "access_log": False,
    "lifespan": "off",
    "proxy_headers": False,
    "server_header": False,
    "limit_connections": _CONNECTIONS,
    "limit_peer_connections": _PEER_CONNECTIONS,
    "forwarded_allow_ips": "",  # nobody is a proxy, whose clients would all be one peer
    "limit_head": 16 * 1024,
    "timeout_head": 5.0,
    "timeout_keep_alive": 2.0,
    "ws_max_size": 1024,
}
"""Options of our own server, beside their defaults."""


async def _started(app: App, config: Config, descriptors: list[int]) -> TercioServer:
    server = TercioServer(config, _note)
    await server.start(app, [_listener(fd) for fd in descriptors], NoCounts())
    return server


def _listener(descriptor: int) -> socket.socket:
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    os.set_inheritable(descriptor, False)
    return listener


def _note(level: str, text: str) -> None:
    sys.stderr.write(f"tercio sidecar: {text}\n")
