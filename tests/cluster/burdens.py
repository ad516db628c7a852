"""An application that weighs on its worker: it blocks, holds the lock, leaks, shares and burns."""

from typing import Final

APP: Final = '''
import asyncio
import collections
import ctypes
import mmap
import os
import threading
import time

from tercio import cluster

LOCK = threading.Lock()
LOCK.acquire()
LIBC = ctypes.CDLL(None)
LIBC.malloc.restype = ctypes.c_void_p
LIBC.malloc.argtypes = [ctypes.c_size_t]
LIBC.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
KEPT = []
TASKS = set()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        TASKS.add(asyncio.create_task(wait_for_ever(), name="background"))
        if cluster.worker.incarnation == 1:
            await at_start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    _, route, amount = (scope["path"] + "/").split("/")[:3]
    await ROUTES.get(route, nothing)(amount)
    body = f"one {os.getpid()}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def wait_for_ever():
    await asyncio.Event().wait()


async def nothing(amount):
    """The first workers leak once the file is there; those who replace them do not."""
    if cluster.worker.incarnation == 1 and not KEPT and os.path.exists("leak"):
        leak(int(open("leak").read()))
        open(f"leaked.{cluster.worker.id}", "w").write(str(time.time()))


async def block(amount):
    time.sleep(float(amount))  # here it blocks


async def lock(amount):
    LOCK.acquire()  # here it waits for a lock


async def gil(amount):
    collections.deque(iter(int, 1), maxlen=0)  # here C code never lets go


async def burn(amount):
    while True:
        pass


async def hog(amount):
    leak(int(amount))


def leak(megabytes):
    """Memory that Python's own heap knows nothing of."""
    KEPT.append(LIBC.malloc(megabytes << 20))
    LIBC.memset(KEPT[-1], 1, megabytes << 20)


async def at_start():
    pass

ROUTES = {"block": block, "lock": lock, "gil": gil, "burn": burn, "hog": hog}
'''

GROW: Final = """
    TASKS.add(asyncio.create_task(grow()))

async def grow():
    while True:
        leak(1)
        await asyncio.sleep(0.02)
"""
"""At start: 50 MB a second, for ever."""

SHARE: Final = """
    file = open("shared", "r+b")
    KEPT.append(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED))
    sum(KEPT[-1][page] for page in range(0, len(KEPT[-1]), 4096))
"""
"""At start: touch each page of a file that all workers share."""


def burdens(at_start: str = "    pass") -> str:
    """The text of the application; ``at_start`` is the body of what first workers run."""
    assert APP.count("async def at_start():\n    pass\n") == 1
    return APP.replace("def at_start():\n    pass\n", f"def at_start():\n{at_start}\n")


def line_of(remark: str) -> int:
    """The line of the application that carries a remark."""
    lines = APP.split("\n")
    return next(number for number, line in enumerate(lines, 1) if remark in line)
