"""One process looks after the store, and another one when that is dead."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.engines.embedded.caretaker import LEASE, Caretaker
from tests.state.engines import Clock, open_with_clock
from tests.worker.rig import until

CARETAKER = """
import sys
from pathlib import Path
from tercio.dataplane.scoreboard import Field
from tests.state.engines import open_state, place
from tests.worker.rig import until
state = open_state(place(sys.argv[1], Path(sys.argv[2])))
until(lambda: state.words[Field.STATE_KEYS] > 0)
print("caring", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["lmdb", "sqlite"])
def test_the_lease_of_a_dead_caretaker_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CARETAKER, kind, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "caring\n"
        # For a clock that stands still, and far back, the lease will never end.
        state = open_with_clock(kind, tmp_path, Clock())
        second = Caretaker(state, syncs=False)
        second.start()
        try:
            assert (state.owner_of(LEASE) or b"").startswith(b"%d-" % first.pid)
            first.kill()
            assert first.wait(60) == -signal.SIGKILL
            until(lambda: state.words[Field.STATE_KEYS] > 0, "nobody took over")
            assert not (state.owner_of(LEASE) or b"").startswith(b"%d-" % first.pid)
        finally:
            second.stop()
            state.close_now()
