"""`tercio check`: the application in a fresh interpreter, and the machine."""

import json
import textwrap
from pathlib import Path

import pytest

from tercio.cli import machine
from tests.cli.conftest import Tercio

GOOD = """
async def app(scope, receive, send): ...
def create_app(): return app
def wsgi(environ, start_response): return []
"""


@pytest.fixture(autouse=True)
def modules(tercio: Tercio) -> None:
    Path("good.py").write_text(GOOD)
    Path("apps").mkdir()
    Path("apps/inner.py").write_text(
        "import os, sys\n" + GOOD + "\nassert os.environ['A'] == '1'\n"
    )
    Path("broken.py").write_text("def connect():\n    return {}['DATABASE\x1b']\n\nconnect()\n")
    Path("needs.py").write_text("import not_there_at_all\n")
    Path("leaves.py").write_text("raise SystemExit(3)\n")
    Path("dies.py").write_text("import os\nos._exit(9)\n")
    Path("slow.py").write_text("import threading\nthreading.Event().wait()\n")
    Path("noisy.py").write_text("print('hello from the import')\n" + GOOD)
    Path("threads.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + GOOD
    )
    Path("children.py").write_text(
        "import subprocess\nchild = subprocess.Popen(['sleep', '0.2'], close_fds=False)\n" + GOOD
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("good:app",), "good:app: ASGI, the function app of good"),
        (("good",), "ASGI"),
        (("good:wsgi",), "WSGI, the function wsgi of good"),
        (("good:create_app", "--factory"), "the function app of good"),
        (("threads:app",), "ASGI"),
        (("children:app",), "ASGI"),
    ],
)
def test_a_good_application_is_described(
    tercio: Tercio, arguments: tuple[str, ...], says: str
) -> None:
    result = tercio("check", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ok  ")
    assert says in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("good:ap",), "module 'good' has no 'ap'; callables found there: app,"),
        (("god:app",), "did you mean good"),
        (("broken:app",), "KeyError: 'DATABASE\\x1b'"),
        (("needs:app",), "No module named 'not_there_at_all'"),
        (("leaves:app",), "SystemExit: 3"),
        (("dies:app",), "ended the interpreter with status 9"),
        (("slow:app", "--start-timeout", "0.5"), "took more than 0.5 s (see start-timeout)"),
    ],
)
def test_a_broken_application_fails_with_its_reason(
    tercio: Tercio, arguments: tuple[str, ...], says: str
) -> None:
    result = tercio("check", *arguments)
    assert result.exit_code == 1
    assert result.stdout.startswith("failed  ")
    assert says in result.stdout
    assert "THIS MACHINE" in result.stdout


def test_a_traceback_begins_at_the_application(tercio: Tercio) -> None:
    result = tercio("check", "broken:app")
    frames = [line.split('"')[1] for line in result.stdout.splitlines() if "  File " in line]
    assert [str(Path("broken.py").resolve())] * 2 == frames
    assert "\x1b" not in result.output


def test_the_import_sees_what_a_worker_would_see(tercio: Tercio) -> None:
    Path(".env").write_text("A=1\n")
    assert tercio("check", "inner:app", "--app-dir", "apps").exit_code == 1
    assert tercio("check", "inner:app", "--app-dir", "apps", "--env-file", ".env").exit_code == 0


def test_a_bad_option_is_no_broken_application(tercio: Tercio) -> None:
    assert tercio("check", "good:app", "-w", "x").exit_code == 2
    assert tercio("check").exit_code == 2


def test_json_holds_application_and_machine(tercio: Tercio) -> None:
    result = tercio("check", "good:app", "--json")
    found = json.loads(result.stdout)
    assert found["app"]["ok"]
    assert found["app"]["interface"] == "asgi"
    assert {"pidfd", "memfd", "cgroup"} <= {feature["name"] for feature in found["machine"]}


def test_each_missing_feature_says_what_it_costs() -> None:
    features = list(machine.features())
    assert len({feature.name for feature in features}) == len(features)
    assert all(feature.told for feature in features)


def test_help_names_the_exit_codes(tercio: Tercio) -> None:
    said = " ".join(textwrap.dedent(tercio("check", "--help").stdout).split())
    assert "Exits with 1 when the application cannot be imported" in said
