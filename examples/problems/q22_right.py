"""Q22, right: the application, and nothing else. Who ends is started again by Tercio.

tercio run examples.problems.q22_right:app -w 8

It cannot be imported as long as the file that Q22_BROKEN names is there.
"""

import os

from examples.problems.plain import application

if os.path.exists(os.environ.get("Q22_BROKEN", "")):
    raise RuntimeError("a setting is missing")


async def hit() -> int:
    return os.getpid()


app = application({"/hit": hit})
