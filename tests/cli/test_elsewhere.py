"""Every option of the servers that people come from works here, or is answered."""

import importlib
import inspect
import re
from collections.abc import Iterator

import click
import pytest
from gunicorn import config as gunicorn
from hypercorn import __main__ as hypercorn

from tercio.cli.flags import Answer, Flag, run_parameters
from tercio.cli.gunicorn_conf import SETTINGS
from tests.cli.conftest import Tercio

OUR_OWN = {"--help", "-h", "--version", "-v", "-V", "--config", "-c"}


def of_gunicorn() -> Iterator[tuple[str, bool]]:
    for setting in gunicorn.KNOWN_SETTINGS:
        for flag in setting.cli or ():
            yield flag, not str(setting.action).startswith("store_")


def of_click(module: str, name: str) -> Iterator[tuple[str, bool]]:
    for parameter in getattr(importlib.import_module(module), name).params:
        if isinstance(parameter, click.Option):
            for flag in (*parameter.opts, *parameter.secondary_opts):
                yield flag, not parameter.is_flag


def of_hypercorn() -> Iterator[tuple[str, bool]]:
    source = inspect.getsource(hypercorn)
    for call in re.findall(r"add_argument\((.*?)\n    \)", source, re.S):
        for flag in re.findall(r'"(--?[a-zA-Z][\w-]*)"', call):
            yield flag, "store_" not in call


THEIRS = {
    "gunicorn": lambda: of_gunicorn(),
    "uvicorn": lambda: of_click("uvicorn.main", "main"),
    "granian": lambda: of_click("granian.cli", "cli"),
    "hypercorn": lambda: of_hypercorn(),
}


@pytest.mark.parametrize("server", THEIRS)
def test_no_option_of_another_server_is_unknown(server: str) -> None:
    if server == "granian":
        pytest.importorskip("granian")  # for Linux only
    known: dict[str, click.Option] = {
        spelling: parameter
        for parameter in run_parameters()
        if isinstance(parameter, Flag | Answer)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }
    theirs = dict(THEIRS[server]())
    assert len(theirs) > 30
    assert sorted(theirs.keys() - known.keys() - OUR_OWN) == []
    # An answer that waits for a value would swallow the application's name, or the other way round.
    wrong = [
        flag
        for flag, takes_value in theirs.items()
        # uvicorn's has a value, granian's has none.
        if flag != "--ws"
        and isinstance(known.get(flag), Answer)
        and known[flag].is_flag is takes_value
    ]
    assert wrong == []


def test_every_setting_of_gunicorns_file_is_known() -> None:
    theirs = {setting.name for setting in gunicorn.KNOWN_SETTINGS}
    assert sorted(theirs - SETTINGS) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-k", "uvicorn.workers.UvicornWorker"], "every worker serves ASGI and WSGI"),
        (["-t", "30"], "--blocked-kill"),
        (["-i", "max"], "--workers"),
        (["--max-memory-restart", "300M"], "--limit-max-memory"),
        (["-c", "gunicorn.conf.py"], "tercio config import gunicorn.conf.py"),
        (["-c", "ecosystem.config.js"], "tercio config import ecosystem.config.js"),
    ],
)
def test_an_old_habit_gets_one_clear_answer(tercio: Tercio, words: list[str], said: str) -> None:
    result = tercio("run", "shop:app", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_keys_of_gunicorns_file_are_answered_in_ours(tercio: Tercio) -> None:
    result = tercio("config", "shop:app", env={"TERCIO_WORKER_CLASS": "gevent"})
    assert "every worker serves ASGI and WSGI" in result.stderr
