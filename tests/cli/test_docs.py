"""The pages that are written from the code."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_made_from_the_code_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_of_signals_names_those_that_are_handled() -> None:
    source = (ROOT / "src/tercio/primary/signals.py").read_text()
    handled = set(re.findall(r"^ +signal\.(SIG\w+):", source, re.MULTILINE))
    page = (ROOT / "docs/signals.md").read_text().partition("## To a worker")[0]
    assert set(re.findall(r"`(SIG\w+)`", page)) == handled
