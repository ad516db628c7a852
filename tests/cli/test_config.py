"""`tercio config` and `tercio completion`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tercio.cli.config import as_toml
from tercio.config import Config
from tercio.settings import load
from tests.cli.conftest import Tercio
from tests.cli.primary import always, running

VALUES = {
    "workers": st.one_of(st.just("auto"), st.integers(1, 1024)),
    "stop_timeout": st.integers(0, 10**6).map(float),
    "limit_jitter": st.integers(0, 100).map(lambda percent: percent / 100),
    "limit_max_memory": st.one_of(st.just("auto"), st.just(0), st.integers(1 << 24, 1 << 40)),
    "use_colors": st.sampled_from([None, True, False]),
    "limit_concurrency": st.one_of(st.none(), st.integers(1, 1000)),
    "uds_permissions": st.integers(0, 0o777),
    "ssl_ciphers": st.just(""),
    "root_path": st.from_regex(r"\A/[^\s\x00-\x1f\x7f]*\Z"),
    "env_file": st.just(()),
    "header": st.lists(st.sampled_from(['A: "b"', "X-Y: \\ é", "Z:"])).map(
        lambda headers: tuple(
            f"{h.partition(':')[0]}: {h.partition(':')[2].strip()}" for h in headers
        )
    ),
}


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_what_is_printed_is_a_file_with_the_same_meaning(
    tmp_path: Path, values: dict[str, object]
) -> None:
    config = Config.from_json(values)
    text = "\n".join(as_toml(config, dict.fromkeys(("host", "uds"), "default")))
    given = "\n".join(
        line
        for line in text.splitlines()
        if not line.startswith(("app =", "port =", "bind =", "fd ="))
    )
    (tmp_path / "tercio.toml").write_text(given)
    assert config == load({}, {}, str(tmp_path), require_app=False).config


def test_what_is_printed_can_be_kept_as_it_is(tercio: Tercio) -> None:
    printed = tercio("config", "-w", "3", "--stop-timeout", "90", "--uds", "/run/x").stdout
    Path("tercio.toml").write_text(printed)
    assert "workers = 3\n" in printed
    assert '# host = "127.0.0.1"\n' in printed
    assert tercio("config").stdout == printed


def test_the_origin_of_every_value_is_shown(tercio: Tercio) -> None:
    Path("tercio.toml").write_text("\nsurge = 2\n")
    result = tercio(
        "config", "a:b", "-w", "3", "--show-origin", env={"PORT": "81", "TERCIO_TRIAL": "1m"}
    )
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert 'app = "a:b" # APP' in lines
    assert "workers = 3 # --workers" in lines
    assert "port = 81 # PORT" in lines
    assert 'trial = "1m" # TERCIO_TRIAL' in lines
    assert "surge = 2 # tercio.toml:2" in lines
    assert "# backlog = 2048 # default" in lines


def test_warnings_go_to_standard_error(tercio: Tercio) -> None:
    result = tercio("config", env={"TERCIO_WRKERS": "2"})
    assert "did you mean TERCIO_WORKERS?" in result.stderr
    assert "WRKERS" not in result.stdout


def test_a_running_cluster_tells_its_own(tercio: Tercio, tmp_path: Path) -> None:
    answer = load({"app": "a:b", "workers": "7"}, {}, str(tmp_path)).to_json()
    with running(tmp_path / "run", "shop", always({"result": answer})):
        assert "workers = 7\n" in tercio("config", "--running").stdout
        assert json.loads(tercio("config", "--running", "--json").stdout) == answer
        refused = tercio("config", "--running", "-w", "3")
    assert refused.exit_code == 2
    assert "--workers cannot change it" in refused.stderr


def test_passwords_are_not_shown(tercio: Tercio) -> None:
    for more in ((), ("--json",), ("--show-origin",)):
        result = tercio("config", "--ssl-keyfile-password", "hunter2", *more)
        assert result.exit_code == 0
        assert "hunter2" not in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(tercio: Tercio, shell: str) -> None:
    result = tercio("completion", shell)
    assert result.exit_code == 0
    assert "_TERCIO_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected", "absent"),
    [
        ("tercio st", {"status", "stop"}, set()),
        ("tercio run --st", {"--stop-timeout", "--start-timeout", "--stable-after"}, set()),
        ("tercio run --loop uv", {"uvloop"}, {"asyncio"}),
        ("tercio run --", {"--workers", "--no-access-log"}, {"--graceful-timeout", "--timeout"}),
    ],
)
def test_completion_offers_what_the_help_shows(
    words: str, expected: set[str], absent: set[str]
) -> None:
    environ = {**os.environ, "_TERCIO_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split()) - 1)
    done = subprocess.run(
        [sys.executable, "-c", "from tercio.cli.main import main; main()"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    offered = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert expected <= offered
    assert not absent & offered
