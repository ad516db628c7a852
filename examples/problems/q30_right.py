"""Q30, right: the primary opens the port and serves nothing; each worker has its share of it.

tercio run examples.problems.q30_right:app -w 2

/hit     the process that answers, and its parent
"""

import json
import os

from examples.problems.plain import application


async def hit() -> str:
    return json.dumps({"pid": os.getpid(), "primary": os.getppid()})


app = application({"/hit": hit})
