"""Run a cluster from a Python program: ``async with tercio.launch("pkg:app") as running``.

The primary is a child process, driven over its control socket as the command line does it. It ends
with the program, however that ends.
"""

from tercio.running.blocking import BlockingRunning
from tercio.running.running import Running
from tercio.running.start import Launch, launch
from tercio.running.views import Event, WorkerMessage, WorkerStatus

__all__ = [
    "BlockingRunning",
    "Event",
    "Launch",
    "Running",
    "WorkerMessage",
    "WorkerStatus",
    "launch",
]
