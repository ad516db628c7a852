"""``python -m tests.handover.storm``: one storm, and what came of it as JSON. Exits with 0."""

import argparse
import asyncio
import json
import mmap
import os
import signal
import socket
import sys
import time

import uvloop

from tercio.dataplane.scoreboard import Field
from tercio.dataplane.shared import Shared
from tests.handover.storm import mutants, worker
from tests.handover.storm.clients import storm


def main() -> None:
    options = _options()
    shared = Shared.create(options.workers)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    calls = mmap.mmap(-1, 8 * options.workers)
    app = worker.App(options.share, options.block, calls, spins=options.spins)
    children = []
    for seat in range(options.workers):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                worker.run(seat, shared, listener, app, vars(options))
            finally:
                os._exit(3)
        children.append(pid)
    try:
        began = time.monotonic()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tally = runner.run(
                storm(
                    listener.getsockname(),
                    options.requests,
                    options.connections,
                    is_cautious=bool(options.mutant),
                )
            )
        seconds = time.monotonic() - began
        totals = shared.scoreboard.totals()
    finally:
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        ends = [os.waitpid(pid, 0)[1] for pid in children]
    waits = sorted(tally.waits) or [0.0]
    found = {
        "asked": tally.asked,
        "called": sum(memoryview(calls).cast("Q")),
        "answered": tally.answered,
        "lost": tally.lost,
        "wrong": tally.wrong,
        "ends": ends,
        "moved": totals[Field.MOVED_RESCUE],
        "rescues": totals[Field.RESCUES],
        "adopted": totals[Field.ADOPTED],
        "unmoved": totals[Field.UNMOVED],
        "forwarded": totals[Field.FORWARDED],
        "seconds": round(seconds, 1),
        "p50": round(waits[len(waits) // 2] * 1e3, 1),
        "p99": round(waits[len(waits) * 99 // 100] * 1e3, 1),
        "max": round(waits[-1] * 1e3, 1),
    }
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--after", type=float, default=0.015, help="0: no rescue")
    parser.add_argument("--share", type=float, default=0.02, help="of requests that block")
    parser.add_argument("--block", type=float, default=0.02, help="seconds")
    parser.add_argument("--spins", type=float, default=0.2, help="share of blocks that compute")
    parser.add_argument("--mutant", default="", choices=("", *mutants.NAMES))
    parser.add_argument("--always", action="store_true", help="also from loops that turn")
    parser.add_argument("--eager", action="store_true", help="tasks begin at once (3.12)")
    return parser.parse_args()


main()
