"""Q27, wrong: a worker that looks at its interpreter's heap, and ends itself when that is large.

tercio run examples.problems.q27_naive:app -w 4 --limit-max-memory 0

/leak?mib=8    forgets memory of C code, as a binding of a library does: images, tensors, parsers
/memory        what the heap says, and what the process has, in MiB
"""

import asyncio
import json
import mmap
import os
import tracemalloc

from examples.problems.load import own_mib
from examples.problems.plain import application

LIMIT = 64 * 2**20  # bytes of the heap
tracemalloc.start()
forgotten: list[mmap.mmap] = []


async def leak(mib: str = "8") -> str:
    # A mapping stands for what C code allocates: Python's allocators do not know of it.
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    buffer = mmap.mmap(-1, int(mib) * 2**20, private)
    for page in range(0, len(buffer), mmap.PAGESIZE):
        buffer[page] = 1
    forgotten.append(buffer)
    return "leaked"


async def memory() -> str:
    heap, _ = tracemalloc.get_traced_memory()
    return json.dumps({"heap": heap / 2**20, "own": own_mib(os.getpid()), "pid": os.getpid()})


async def watch() -> None:
    while True:
        await asyncio.sleep(0.5)
        heap, _ = tracemalloc.get_traced_memory()
        if heap > LIMIT:  # which never comes true
            os._exit(1)


app = application({"/leak": leak, "/memory": memory}, watch)
