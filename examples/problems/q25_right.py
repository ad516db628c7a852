"""Q25, right: the application, and nothing else. `tercio reload` replaces its workers.

tercio run examples.problems.q25_right:app -w 4
"""

import os
import time

from examples.problems.plain import application

time.sleep(0.5)  # stands for the import of an application


async def hit() -> int:
    return os.getpid()


app = application({"/hit": hit, "/": hit})
