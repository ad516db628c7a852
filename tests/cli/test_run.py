"""`tercio run` up to the moment when it becomes the primary."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tercio as package
from tercio.cli import launch
from tercio.config import OPTIONS
from tercio.options.elsewhere import ELSEWHERE
from tests.cli.conftest import Tercio


def record(output: str) -> dict[str, Any]:
    found = json.loads(output)
    assert isinstance(found, dict)
    return found


def test_the_record_holds_raw_flags_for_the_primary_to_parse(tercio: Tercio) -> None:
    found = record(tercio("run", "shop:app", "-w", "4", "--no-access-log", "-b", ":80").stdout)
    assert found["cli"] == {
        "app": "shop:app",
        "workers": "4",
        "access_log": False,
        "bind": [":80"],
    }
    assert found["version"] == package.__version__
    assert found["cwd"] == os.getcwd()
    assert found["python"][0] == sys.executable


def test_the_application_may_stand_in_the_file(tercio: Tercio) -> None:
    Path("tercio.toml").write_text("app = 'shop:app'\n")
    assert record(tercio("run").stdout)["cli"] == {}


@pytest.mark.parametrize(
    ("flag", "field"),
    [(flag, name) for name, it in OPTIONS.items() for flag in (*it.flags, *it.aliases)],
)
def test_every_spelling_of_every_option_works(tercio: Tercio, flag: str, field: str) -> None:
    kind = OPTIONS[field].kind
    result = tercio("config", flag, *([] if kind.is_switch else ["\x01"]))
    # A control character is no value of anything: the message tells where the flag led.
    if kind.is_switch:
        assert result.exit_code == 0
        assert f"{OPTIONS[field].key} = true" in result.stdout
    else:
        assert result.exit_code == 2
        assert f"{OPTIONS[field].flag} " in result.stderr


@pytest.mark.parametrize("spelling", [flag for other in ELSEWHERE for flag in other.flags])
def test_options_of_other_servers_are_answered(tercio: Tercio, spelling: str) -> None:
    takes_value = next(other.takes_value for other in ELSEWHERE if spelling in other.flags)
    result = tercio("run", "shop:app", spelling, *(["1"] if takes_value else []))
    assert result.exit_code == 2
    assert "not an option of Tercio; " in result.stderr


def test_the_help_is_short_and_leads_on(tercio: Tercio) -> None:
    short, whole = (tercio("run", flag).stdout for flag in ("--help", "--help-all"))
    assert len(short.splitlines()) < 80
    assert "--help-all` shows all" in short
    for option in OPTIONS.values():
        assert all(flag in whole for flag in option.flags)
        if option.flags:
            assert option.common == (f" {option.flag} " in short)
        assert not any(f"{alias} " in whole for alias in option.aliases)
    assert "--timeout " not in whole


def test_every_command_has_help(tercio: Tercio) -> None:
    listed = tercio("--help").stdout.split("Commands:")[1].split("\n  ")
    names = [line.split()[0] for line in listed if line.strip() and line[0] != " "]
    assert {"run", "status", "check", "completion"} <= set(names)
    for name in names:
        assert tercio(name, "--help").exit_code == 0


def test_without_a_command_the_help_is_shown_and_it_fails(tercio: Tercio) -> None:
    result = tercio()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


# --- the launch --------------------------------------------------------------------------------


def test_the_directory_is_kept_as_the_shell_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / "current").symlink_to("r1")
    monkeypatch.chdir(tmp_path / "current")
    current = str(tmp_path / "current")
    assert current == launch.working_directory({"PWD": current})
    for untrue in ({}, {"PWD": "/"}, {"PWD": "."}, {"PWD": "/not/there"}):
        assert os.getcwd() == launch.working_directory(untrue)


@pytest.mark.parametrize(
    ("argv", "flags"),
    [
        (["python", "/usr/bin/tercio", "run"], []),
        (["python", "-m", "tercio", "run"], []),
        (["python", "-X", "dev", "-Wd", "-OO", "-m", "tercio"], ["-X", "dev", "-Wd", "-OO"]),
        (["python", "-Xutf8", "-W", "error", "tercio"], ["-Xutf8", "-W", "error"]),
        (["python", "-bb", "-X", "dev", "tercio"], ["-bb", "-X", "dev"]),
    ],
)
def test_workers_get_the_flags_of_the_interpreter(argv: list[str], flags: list[str]) -> None:
    assert [sys.executable, *flags] == launch.interpreter(argv)


SHOW_RECORD = """
import json, os, sys
with open(int(sys.argv[1])) as file:
    record = json.load(file)
print(json.dumps({"record": record, "pid": os.getpid(), "flags": [sys.flags.isolated,
      sys.flags.ignore_environment, sys.flags.no_user_site, sys.flags.safe_path],
      "path": sys.path, "variable": os.environ["KEPT"]}))
"""


def test_run_becomes_the_primary_even_where_only_pythonpath_leads_to_it(tmp_path: Path) -> None:
    """All of Tercio but its primary, which is one that prints what it was given."""
    root = tmp_path / "path"
    (root / "tercio" / "primary").mkdir(parents=True)
    for entry in Path(package.__file__).parent.iterdir():
        if entry.name != "primary":
            (root / "tercio" / entry.name).symlink_to(entry)
    (root / "tercio" / "primary" / "__init__.py").touch()
    (root / "tercio" / "primary" / "__main__.py").write_text(SHOW_RECORD)
    # Would be taken for the standard library's if the path were left in place.
    (root / "random.py").write_text("raise SystemExit('shadowed')\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "tercio", "run", "shop:app", "-w", "2"],
        env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"], "KEPT": "yes"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate(timeout=60)
    shown = json.loads(output)
    assert shown["pid"] == process.pid
    assert shown["record"]["cli"] == {"app": "shop:app", "workers": "2"}
    assert shown["record"]["cwd"] == str(tmp_path)
    assert shown["flags"] == [0, 1, 1, True]
    assert str(root) not in shown["path"]
    assert shown["variable"] == "yes"


def test_an_installed_tercio_starts_as_a_module() -> None:
    command = launch.primary_command(7)
    assert command == [sys.executable, "-EsP", "-m", "tercio.primary", "7"]


def test_a_mistake_is_quick_and_plain_in_a_real_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "run", "shop:app", "--port", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    said = "tercio: --port 'x': expected a whole number from 0 to 65535 (0 = any free port)\n"
    assert said == done.stderr


def test_run_imports_neither_a_server_nor_an_event_loop() -> None:
    code = (
        "import sys; from tercio.cli.main import cli; cli.get_command(None, 'run');"
        "print(*(set(sys.modules) & {'asyncio', 'uvicorn', 'ssl', 'subprocess', 'tempfile'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "\n", done.stderr


def test_a_server_that_is_not_installed_is_answered_with_the_pip_line() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from tercio.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "run", "app", "--server", "uvicorn"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "pip install 'tercio[uvicorn]'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
