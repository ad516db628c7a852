"""The kernel takes no more descriptors on their way than a process may have open (ETOOMANYREFS)."""

import os
import subprocess
import sys

import pytest

from tests.handover.manyrefs import COUNT, LIMIT

WITHOUT = "-sys_resource,-sys_admin"
"""What lifts the limit."""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_what_the_kernel_does_not_take_stays_with_its_worker_and_goes_later() -> None:
    prefix = ["setpriv", f"--bounding-set={WITHOUT}", f"--inh-caps={WITHOUT}"]
    done = subprocess.run(
        # Who is not root has them not.
        [*(prefix if os.geteuid() == 0 else []), sys.executable, "-m", "tests.handover.manyrefs"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # What other processes of the same user have on their way counts, too.
    assert int(done.stdout) <= LIMIT + 1 < COUNT
