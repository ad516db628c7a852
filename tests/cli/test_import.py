"""What `tercio config import` makes of other servers' files."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tercio

GUNICORN = """
import multiprocessing

bind = ["0.0.0.0:8000", "unix:/run/shop.sock", ":9000"]
workers = multiprocessing.cpu_count() * 0 + 3
worker_class = "uvicorn.workers.UvicornWorker"
timeout = 120
graceful_timeout = 40
keepalive = 5
max_requests = 1000
max_requests_jitter = 50
accesslog = "-"
loglevel = "warning"
proc_name = "shop"
wsgi_app = "shop:app"
raw_env = ["DATABASE_PASSWORD=hunter2"]
statsd_host = "localhost:8125"
own_variable = object()

def post_fork(server, worker):
    pass
"""


def imported(tercio: Tercio, name: str, text: str, *options: str) -> tuple[dict[str, Any], str]:
    """The keys of what is made of a file, and its whole text."""
    Path(name).write_text(text)
    result = tercio("config", "import", name, *options)
    assert result.exit_code == 0, result.stderr
    return tomllib.loads(result.stdout), result.stdout


def refused(tercio: Tercio, name: str, text: str, *options: str) -> str:
    """The error that a file gets."""
    Path(name).write_text(text)
    result = tercio("config", "import", name, *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def test_settings_of_gunicorn_become_ours(tercio: Tercio) -> None:
    found, text = imported(tercio, "gunicorn.conf.py", GUNICORN)
    assert found == {
        "app": "shop:app",
        "bind": ["0.0.0.0:8000", "unix:/run/shop.sock", "0.0.0.0:9000"],
        "workers": 3,
        "blocked-kill": 120,
        "stop-timeout": 40,
        "drain-timeout": 40,
        "timeout-keep-alive": 5,
        "limit-max-requests": 1000,
        "limit-jitter": 0.05,
        "access-log": True,
        "log-level": "warning",
        "name": "shop",
    }
    assert "# - statsd_host: use `tercio metrics`" in text
    assert "# - post_fork(): " in text
    assert "DATABASE_PASSWORD" in text
    assert "hunter2" not in text
    assert "own_variable" not in text


def test_what_is_made_is_a_configuration_that_is_taken(tercio: Tercio) -> None:
    _, text = imported(tercio, "gunicorn.conf.py", GUNICORN)
    Path("tercio.toml").write_text(text)
    shown = tercio("config", "--show-origin")
    assert shown.exit_code == 0, shown.stderr
    assert "tercio.toml:" in shown.stdout


def test_a_synchronous_worker_goes_on_with_one_request_at_a_time(tercio: Tercio) -> None:
    found, text = imported(tercio, "gunicorn.conf.py", 'worker_class = "sync"\ntimeout = 30\n')
    assert found == {
        "threads": 1,
        "blocked-kill": 30,
        "timeout-request": 30,
        "access-log": False,
    }
    assert "a slow request gets 504, no worker ends" in text


def test_a_value_that_is_not_allowed_here_is_a_comment_with_the_reason(tercio: Tercio) -> None:
    found, text = imported(tercio, "gunicorn.conf.py", "limit_request_line = 0\nworkers = 0\n")
    assert found == {"access-log": False}
    assert "# - limit_request_line: 0 is no limit-request-line: expected a size" in text
    assert "workers" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'"),
        ("bind = = 1\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "ends the program that reads it (sys.exit, with 3)"),
        ("import sys\nsys.exit(0)\n", "ends the program that reads it (sys.exit, with 0)"),
        ("import os\nos._exit(7)\n", "ended its process (status 7)"),
        ("with open('written', 'w') as file: file.write('x')\n", "File too large"),
        ("x = bytearray(8 << 30)\n", "MemoryError"),
    ],
)
def test_a_file_that_cannot_be_executed_is_one_error(tercio: Tercio, text: str, said: str) -> None:
    message = refused(tercio, "gunicorn.conf.py", text)
    assert said in message
    assert "conf_trial" not in message


def test_what_is_no_value_is_named_by_its_class(tercio: Tercio) -> None:
    text = "class Secret: pass\nuser = object()\nlogconfig_dict = Secret()\n"
    found, made = imported(tercio, "gunicorn.conf.py", text)
    assert "user" not in found
    assert "# - user: an object of the class object cannot stand in a file" in made
    assert "of the class Secret" in made
    assert "at 0x" not in made


def test_what_is_refused_is_called_by_its_name_not_by_a_hint(tercio: Tercio) -> None:
    _, made = imported(tercio, "gunicorn.conf.py", "workers = '\\n[evil]\\nx = 1'\n")
    assert "# - workers: '\\n[evil]\\nx = 1' is no workers" in made
    assert "\n[evil]" not in made


def test_no_process_that_it_starts_outlives_the_import(tercio: Tercio, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    text = f"""
import os, subprocess, sys
fd = os.open({str(alive)!r}, os.O_WRONLY)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[fd])
bind = "127.0.0.1:8001"
"""
    with open(os.open(alive, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        found, _ = imported(tercio, "gunicorn.conf.py", text)
        assert found["bind"] == ["127.0.0.1:8001"]
        os.set_blocking(reader.fileno(), True)
        assert reader.read() == b"", "whoever had it open for writing is gone"


ECOSYSTEM: dict[str, Any] = {
    "apps": [
        {
            "name": "shop",
            "script": "uvicorn",
            "args": "shop:app --host 0.0.0.0 --port 8001 --http h11 --no-access-log",
            "interpreter": "none",
            "instances": "max",
            "max_memory_restart": "300M",
            "kill_timeout": 3000,
            "min_uptime": "10s",
            "listen_timeout": 8000,
            "watch": True,
            "env": {"SECRET": "hunter2", "PORT": 9},
            "surprise": 1,
        }
    ]
}


def test_an_application_of_pm2_becomes_ours(tercio: Tercio) -> None:
    found, text = imported(tercio, "ecosystem.config.json", json.dumps(ECOSYSTEM))
    assert found == {
        "app": "shop:app",
        "host": "0.0.0.0",
        "port": "8001",
        "access-log": False,
        "name": "shop",
        "workers": "auto",
        "limit-max-memory": "300MiB",
        "stop-timeout": 3,
        "drain-timeout": 3,
        "stable-after": 10,
        "start-timeout": 8,
    }
    assert "# - uvicorn --http: " in text
    assert "# - watch: use `tercio dev`" in text
    assert "# - surprise: it is not known as one of PM2's" in text
    assert "hunter2" not in text
    Path("tercio.toml").write_text(text)
    assert tercio("config").exit_code == 0


def test_a_script_that_is_no_python_server_has_to_be_named_anew(tercio: Tercio) -> None:
    found, text = imported(tercio, "eco.json", '{"script": "app.js", "instances": 2}')
    assert found == {"workers": 2}
    assert "# - script 'app.js': name the Python application" in text


def test_one_of_several_applications_is_chosen(tercio: Tercio) -> None:
    apps = json.dumps([{"name": "a", "script": "x"}, {"name": "b", "script": "y"}])
    assert "(a, b)" in refused(tercio, "eco.json", apps)
    assert imported(tercio, "eco.json", apps, "--app", "b")[0] == {"name": "b"}
    assert "no application named 'c'" in refused(tercio, "eco.json", apps, "--app", "c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"apps": [}', "eco.json:1: no JSON"),
        ('{"apps": [{"name": "a", "name": "b"}]}', "'name' stands twice"),
        ('{"apps": 3}', "expected an object"),
        ('{"apps": []}', "expected an object"),
        ('{"script": "x", "kill_timeout": "soon"}', "'soon' is no time of PM2"),
        ('{"script": "x", "env": 3}', "env: expected an object"),
        ('{"script": "uvicorn", "args": "app:app --nonsense"}', "--nonsense"),
        ('{"script": "uvicorn", "args": "a \'b"}', "is no command line"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_ecosystem_is_refused(tercio: Tercio, text: str, said: str) -> None:
    assert said in refused(tercio, "eco.json", text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ecosystem.config.js", "node -e"),
        ("ecosystem.config.cjs", "node -e"),
        ("tercio.toml", "--config"),
        ("ecosystem.yml", "convert YAML"),
    ],
)
def test_other_files_are_answered(tercio: Tercio, name: str, said: str) -> None:
    assert said in refused(tercio, name, "")


def test_a_file_that_is_not_there_is_one_error(tercio: Tercio) -> None:
    result = tercio("config", "import", "gunicorn.conf.py")
    assert result.exit_code == 2
    assert "No such file" in result.stderr
