"""Which changes count."""

import subprocess
import sys
from pathlib import Path

import pytest

from tercio.cli.watcher import Asked
from tests.cli.conftest import Tercio


@pytest.mark.parametrize(
    ("path", "patterns", "counts"),
    [
        ("/srv/app/shop/views.py", [], True),
        ("/srv/app/shop/views.pyc", [], False),
        ("/srv/app/README.md", [], False),
        ("/srv/app/.venv/lib/x.py", [], False),
        ("/srv/app/shop/__pycache__/x.py", [], False),
        ("/srv/app/node_modules/a/setup.py", [], False),
        ("/srv/other/views.py", [], False),
        ("/srv/application/views.py", [], False),  # begins alike
        ("/srv/app/t/page.html", ["*.html"], True),
        ("/srv/app/t/page.html", ["t/*"], True),
        ("/srv/app/u/page.html", ["t/*"], False),
        ("/srv/app/tests/test_a.py", ["!tests"], False),
        ("/srv/app/tests/test_a.py", ["!tests/"], False),
        ("/srv/app/tests/test_a.py", ["!tests/*"], False),
        ("/srv/app/shop/test_a.py", ["!test_*.py"], False),
        ("/srv/app/shop/mytests/a.py", ["!tests"], True),
        ("/srv/app/.venv/a.html", ["*.html"], False),
        ("/etc/shop/tercio.toml", [], True),  # settings that were read
        ("/etc/shop/other.toml", [], False),
    ],
)
def test_a_change_counts(path: str, patterns: list[str], counts: bool) -> None:
    asked = Asked(["/srv/app"], patterns, ["/etc/shop/tercio.toml"])
    assert Asked.from_json(asked.to_json()) == asked
    assert asked.counts(path) is counts


def test_the_help_of_dev_shows_what_dev_chooses(tercio: Tercio) -> None:
    shown = " ".join(tercio("dev", "--help").stdout.split())
    assert "quota and memory. [1]" in shown
    assert "may take to finish. [0s]" in shown
    assert "--watch-filter PATTERN" in shown
    assert "--watch " not in tercio("run", "--help").stdout


def test_without_its_extra_dev_says_what_to_install(tmp_path: Path) -> None:
    place = tmp_path
    (place / "shop.py").write_text("async def app(scope, receive, send): ...\n")
    # A finder in front of all others, which knows no watchfiles.
    (place / "without.py").write_text(
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "def without(name, *more):\n"
        "    return None if name == 'watchfiles' else find(name, *more)\n"
        "importlib.util.find_spec = without\n"
        "sys.argv = ['tercio', 'dev', 'shop:app']\n"
        "runpy.run_module('tercio', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, str(place / "without.py")],
        cwd=place, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().endswith("pip install 'tercio[dev]'")
