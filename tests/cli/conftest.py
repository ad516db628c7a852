"""Run commands as a shell would: own directory, no variables of ours, no cluster of this user."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tercio.cli.main import cli
from tercio.cli.run import Launcher

Tercio = Callable[..., Result]


@pytest.fixture
def tercio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tercio:
    """Call the command line in this process, in ``tmp_path / "here"``."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in os.environ:
        if name.startswith("TERCIO_") or name in ("PORT", "WEB_CONCURRENCY", "PWD"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERCIO_ALLOW_ROOT", "1")
    monkeypatch.setenv("TERCIO_RUNTIME_DIR", str(tmp_path / "run"))

    def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
        # A `run` that finds nothing wrong must not replace the process of the tests.
        launcher = Launcher(lambda record: click.echo(json.dumps(record)))
        return CliRunner().invoke(cli, arguments, env=env, obj=launcher)

    return call
