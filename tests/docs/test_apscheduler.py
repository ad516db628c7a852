"""The recipe with APScheduler: one worker's scheduler runs, and when it dies another one's."""

import os
import re
import signal
from pathlib import Path

from tests.api import pages
from tests.cluster.look import short_directory
from tests.docs.reader import Reader

(RECIPE,) = [
    each.text for each in pages.blocks("jobs.md") if each.text.startswith("# scheduled.py\n")
]

_TELLS = 'args=["tick of", __import__("os").getpid()], kwargs={"flush": True}'

APP = """
from starlette.applications import Starlette

app = Starlette(lifespan=lifespan)
"""


def test_one_worker_schedules_for_all_and_another_one_goes_on(tmp_path: Path) -> None:
    quick = RECIPE.replace("seconds=60", "seconds=0.2")
    told = quick.replace('args=["tick"]', _TELLS)
    assert told != quick != RECIPE
    (tmp_path / "scheduled.py").write_text(told + APP)
    with short_directory() as run, Reader(tmp_path, run) as reader:
        run.chmod(0o700)
        server = reader.open("tercio run scheduled:app -w 2")
        shown = server.shows("all 2 workers serve[^$]*tick of \\d+\n")
        (first,) = set(re.findall(r"tick of (\d+)", shown))
        os.kill(int(first), signal.SIGKILL)
        server.shows(rf"tick of (?!{first}\b)\d+\n")
