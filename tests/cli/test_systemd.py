"""The unit that `tercio systemd` prints is one that systemd takes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Tercio


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text("async def app(scope, receive, send): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_of(text: str) -> dict[str, list[str]]:
    """Keys of a unit and their values, in order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_time_limits_follow_from_the_options(tercio: Tercio, app: Path) -> None:
    printed = tercio(
        "systemd", "shop:app", "--user", "shop", "--stop-delay", "5s", "--stop-timeout", "40s",
        "--systemd", "255",
    )  # fmt: skip
    unit = lines_of(printed.stdout)
    assert unit["Type"] == ["notify-reload"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["User"] == ["shop"]
    assert unit["TimeoutStopSec"] == ["51"]  # 5 + 40 + 1 s, and 5 s
    assert "ExecReload" not in unit
    assert int(unit["WatchdogSec"][0]) > 0


def test_an_older_systemd_reloads_by_a_command(tercio: Tercio, app: Path) -> None:
    unit = lines_of(tercio("systemd", "shop:app", "--systemd", "249").stdout)
    assert unit["Type"] == ["notify"]
    assert unit["ExecReload"][0].endswith("reload --name shop")
    assert unit["DynamicUser"] == ["yes"]


def test_what_systemd_would_read_in_another_way_is_quoted(tercio: Tercio, app: Path) -> None:
    given = ("--header", 'X-Note: 50% "off" $HOME', "--no-access-log", "-w", "3")
    unit = lines_of(tercio("systemd", "shop:app", *given).stdout)
    (command,) = unit["ExecStart"]
    assert r'--header "X-Note: 50%% \"off\" $$HOME"' in command
    assert "--workers 3" in command
    assert "--no-access-log" in command
    assert "--name shop" in command


def test_a_low_port_needs_one_capability_and_a_high_one_none(tercio: Tercio, app: Path) -> None:
    low = lines_of(tercio("systemd", "shop:app", "-b", "0.0.0.0:443").stdout)
    assert low["AmbientCapabilities"] == low["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    high = lines_of(tercio("systemd", "shop:app").stdout)
    assert high["CapabilityBoundingSet"] == [""]


@pytest.mark.parametrize("option", ["--health", "--admin"])
def test_a_low_port_of_probes_and_operators_needs_it_too(
    tercio: Tercio, app: Path, option: str
) -> None:
    unit = lines_of(tercio("systemd", "shop:app", option, "127.0.0.1:80").stdout)
    assert unit["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]


def test_what_options_name_can_be_written_to(tercio: Tercio, app: Path) -> None:
    unit = lines_of(
        tercio(
            "systemd", "shop:app", "--user", "shop", "--uds", "/run/web/shop.sock",
            "--pid-file", "/run/web/pid", "--admin", "unix:/run/ops/shop",
            "--error-log-file", "/var/log/shop/e.log", "--access-log-file", "/srv/my logs/a.log",
            "--state-dir", "/var/lib/shop",
        ).stdout
    )  # fmt: skip
    assert unit["RuntimeDirectory"] == ["tercio-shop web ops"]
    assert unit["LogsDirectory"] == ["shop"]
    assert unit["StateDirectory"] == ["shop"]
    assert unit["StateDirectoryMode"] == ["0700"]
    assert unit["ReadWritePaths"] == ['"/srv/my logs"']


def test_sockets_that_systemd_opens_need_no_place(tercio: Tercio, app: Path) -> None:
    given = ("--user", "shop", "--socket", "-b", "unix:/srv/web/shop.sock")
    assert "ReadWritePaths" not in lines_of(tercio("systemd", "shop:app", *given).stdout)


@pytest.mark.parametrize(
    ("given", "better"),
    [
        (("--uds", "/tmp/shop.sock"), "/run/shop/shop.sock"),
        (("--user", "shop", "--pid-file", "/run/shop.pid"), "/run/shop/shop.pid"),
        (("--user", "shop", "--error-log-file", "/var/log/e.log"), "/var/log/shop/e.log"),
        (("--access-log-file", "/srv/a.log"), "/var/log/shop/a.log, or name a user"),
        (("--state-dir", "/srv/shop"), "/var/lib/shop/state, or name a user"),
        (("--state-dir", "/var/lib/shop"), "/var/lib/shop/state: without --user"),
    ],
)
def test_a_path_that_cannot_work_in_a_service_is_answered_with_one_that_does(
    tercio: Tercio, app: Path, given: tuple[str, ...], better: str
) -> None:
    result = tercio("systemd", "shop:app", *given)
    assert result.exit_code == 2
    assert better in result.stderr
    assert result.stdout == ""


def test_a_secret_is_not_put_where_everybody_can_read_it(tercio: Tercio, app: Path) -> None:
    result = tercio("systemd", "shop:app", "--redis", "redis://:hunter2@localhost")
    assert result.exit_code == 2
    assert "TERCIO_REDIS" in result.stderr
    assert "hunter2" not in result.stderr + result.stdout


def test_a_socket_unit_has_the_addresses_and_the_service_takes_them(
    tercio: Tercio, app: Path
) -> None:
    where = ("--write", str(app), "--socket", "-b", "0.0.0.0:8000", "-b", "unix:/run/shop.sock")
    said = tercio("systemd", "shop:app", *where)
    assert said.exit_code == 0, said.stderr
    socket = lines_of((app / "shop.socket").read_text())
    assert socket["ListenStream"] == ["0.0.0.0:8000", "/run/shop.sock"]
    service = lines_of((app / "shop.service").read_text())
    assert "--bind systemd" in service["ExecStart"][0]
    assert "8000" not in service["ExecStart"][0]
    assert service["Requires"] == ["shop.socket"]
    assert "enable --now shop.socket" in said.stdout


def test_it_says_what_it_cannot_write(tercio: Tercio, app: Path) -> None:
    result = tercio("systemd", "shop:app", "--write", str(app / "nowhere"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_finds_no_fault_with_it(tercio: Tercio, app: Path) -> None:
    more = ("--user", "root", "--socket", "--header", "X-Note: 50% $HOME", "--write", str(app))
    assert tercio("systemd", "shop:app", *more).exit_code == 0
    done = subprocess.run(
        ["systemd-analyze", "verify", str(app / "shop.service"), str(app / "shop.socket")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "shop." in line]
    # A verifier that is older than the unit says so of single lines.
    assert [line for line in ours if "Unknown key" not in line] == [], done.stderr
    assert done.returncode == 0 or not ours, done.stderr
