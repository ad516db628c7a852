"""Q29, wrong: every request is a message to one process (`q29_collector`), which adds them up.

Q29_COLLECTOR=/tmp/collector tercio run examples.problems.q29_naive:app -w 4
"""

import os
import socket

from examples.problems.plain import application

outbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
outbox.setblocking(False)
outbox.connect(os.environ["Q29_COLLECTOR"])


async def hit() -> str:
    try:
        outbox.send(b'{"path": "/hit", "status": 200}')
    except BlockingIOError:
        pass  # the collector is behind; to wait for it would hold all other requests
    return "ok"


app = application({"/hit": hit})
