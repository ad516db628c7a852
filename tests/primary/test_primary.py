"""The primary outlives its own mistakes."""

import subprocess
import sys
from pathlib import Path

CODE = """
import asyncio, sys
from contextlib import ExitStack
from tercio.core import inputs
from tercio.primary.journal import Journal
from tercio.primary.primary import Primary
from tercio.primary.setup import Launch, open_setup

launch = Launch({"app": "app:app", "port": "0", "runtime_dir": sys.argv[1]}, "/", (sys.executable,))
with ExitStack() as stack:
    loop = asyncio.new_event_loop()
    setup = open_setup(launch, launch.read_settings(), stack)
    primary = Primary(setup, Journal(), loop)
    primary.tell("no input")
    primary.tell(inputs.StopAsked(143, at_once=True))
    print("has exited" if primary.cluster.has_exited else "goes on")
    loop.close()
"""


def test_an_input_that_cannot_be_judged_is_logged_and_the_next_one_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "run")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "has exited\n", done.stderr
    assert "this could not be judged: 'no input'" in done.stderr
    assert "Traceback" in done.stderr
