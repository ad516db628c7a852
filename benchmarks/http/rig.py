"""Tercio's server alone, without the rest of a worker: what does counting cost?

No option turns the counts off, so both sides of the question are run like this: the same server
with the hooks of a worker and a row of shared memory, or with hooks that do nothing.
"""

import argparse
import asyncio
import gc
import socket
from typing import cast

import uvloop
from benchmarks.uncounted import Uncounted

from tercio.config import Config
from tercio.dataplane.scoreboard import Scoreboard
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.servers.tercio import TercioServer
from tercio.worker.counts import Counts
from tercio.worker.importer import load


async def serve(app: str, port: int, hooks: Hooks) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        server = TercioServer(Config(access_log=False), lambda level, text: None)
        await server.start(cast("App", load(app, "", factory=False)), [listener], hooks)
        gc.freeze()  # as a worker does
        gc.set_threshold(2000, 10, 10)
        await server.serve()
        await asyncio.Event().wait()  # until a signal ends the process


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--counts", action="store_true", help="count as a worker does")
    options = parser.parse_args()
    hooks = Counts(Scoreboard.create(1).row(0)) if options.counts else Uncounted()
    uvloop.run(serve(options.app, options.port, hooks))
