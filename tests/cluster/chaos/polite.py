"""A client that asks a hundred times a second and writes down how long each answer took.

A process of its own: beside a crowd in the same one it would measure the crowd's loop. It runs
until its standard input ends, and then prints the times in seconds as JSON.
"""

import json
import select
import sys
import time

from websockets.sync.client import connect

from tests.worker.rig import Client

PERIOD = 0.01


def main(port: int, kind: str) -> None:
    """Ask over one kept connection: ``kind`` is "http" or "websocket"."""
    took: list[float] = []
    if kind == "http":
        with Client(("127.0.0.1", port)) as client:
            while _goes_on():
                began = time.monotonic()
                client.ask("/")
                assert client.answer()[0] == 200
                took.append(time.monotonic() - began)
    else:
        with connect(f"ws://127.0.0.1:{port}/", open_timeout=30) as websocket:
            while _goes_on():
                began = time.monotonic()
                websocket.send("x")
                assert websocket.recv(30) == "x"
                took.append(time.monotonic() - began)
    print(json.dumps(took))


def _goes_on() -> bool:
    return not select.select([sys.stdin], [], [], PERIOD)[0]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
