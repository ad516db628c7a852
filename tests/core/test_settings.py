"""Settings: which source wins, where each value came from, and what is said of a mistake."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tercio import settings
from tercio.config import OPTIONS, Config
from tercio.errors import ConfigError
from tercio.settings import Settings

APP = {"app": "shop.main:app"}

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load with an empty environment in an empty directory, but for what is given."""

    def load(
        cli: Mapping[str, object] = {},
        environ: Mapping[str, str] = {},
        *,
        require_app: bool = True,
        **files: str,
    ) -> Settings:
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        return settings.load({**APP, **cli}, environ, str(tmp_path), require_app=require_app)

    return load


def test_without_anything_every_value_is_the_default(load: Load) -> None:
    found = load()
    assert Config(app="shop.main:app") == found.config
    assert {"default"} == {found.origins[name] for name in OPTIONS if name != "app"}
    assert found.warnings == ()
    assert found.files == ()


def test_every_field_has_an_option_and_every_default_is_allowed() -> None:
    for name, option in OPTIONS.items():
        assert option.help.endswith("."), name
        # What is shown as the default can also be written.
        shown = option.show(option.default)
        raw: object = shown
        if option.is_repeatable:
            raw = [part for part in shown.split(option.kind.separator) if part]
        assert option.default == option.kind.parse(raw), name


def test_spellings_belong_to_one_option_each() -> None:
    flags = [flag for option in OPTIONS.values() for flag in (*option.flags, *option.aliases)]
    assert len(flags) == len(set(flags))


SOURCES = ("flag", "ours", "foreign", "file")


@hypothesis_settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(given=st.dictionaries(st.sampled_from(SOURCES), st.integers(1, 1024)))
def test_a_flag_beats_a_variable_beats_a_file(given: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "tercio.toml").write_text(
        f"workers = {given['file']}\n" if "file" in given else "\n"
    )
    variables = {"ours": "TERCIO_WORKERS", "foreign": "WEB_CONCURRENCY"}
    environ = {name: str(given[key]) for key, name in variables.items() if key in given}
    cli = {**APP, "workers": str(given["flag"]) if "flag" in given else None}
    found = settings.load(cli, environ, str(tmp_path))
    winner = next((source for source in SOURCES if source in given), None)
    assert (given[winner] if winner else "auto") == found.config.workers
    origins = {"flag": "--workers", "file": "tercio.toml:1", **variables}
    assert (origins[winner] if winner else "default") == found.origins["workers"]


JSON_VALUES = {
    "workers": st.one_of(st.just("auto"), st.integers(1, 1024)),
    "stop_timeout": st.floats(0, 1000).map(lambda seconds: round(seconds, 3)),
    "header": st.lists(
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"])).map(
            lambda text: f"X-A: {text.strip()}"
        )
    ).map(tuple),
    "use_colors": st.sampled_from([None, True, False]),
    "limit_max_memory": st.one_of(st.just("auto"), st.just(0), st.integers(1 << 24, 1 << 40)),
    "fd": st.one_of(st.none(), st.integers(0, 100)),
    "uds_permissions": st.integers(0, 0o777),
    "name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"),
}


@given(st.fixed_dictionaries({}, optional=JSON_VALUES))
def test_a_config_survives_json(values: dict[str, Any]) -> None:
    config = Config(**values)
    assert config == Config.from_json(json.loads(json.dumps(config.to_json())))


def test_a_config_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="warp_factor"):
        Config.from_json({"warp_factor": 9})


def test_a_secret_is_shown_to_nobody_but_workers(load: Load) -> None:
    found = load(require_app=False, tercio__toml="ssl-keyfile-password = 'hunter2'\n")
    assert found.config.to_json()["ssl_keyfile_password"] == "hunter2"
    assert "hunter2" not in json.dumps(found.to_json())


@pytest.mark.parametrize(
    "text",
    [
        "ssl-keyfile-pasword = 'hunter2'\n",
        "password = hunter2\n",
        "ssl-keyfile-password=['hunter2']",
    ],
)
def test_a_mistake_beside_a_secret_does_not_tell_it(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tercio__toml=text)
    assert "hunter2" not in str(caught.value)
    assert "tercio.toml:1" in str(caught.value)


@pytest.mark.parametrize("written", ["stop-timeout", "stop_timeout", "timeout-graceful-shutdown"])
def test_a_file_may_use_dashes_underscores_and_the_words_of_others(
    load: Load, written: str
) -> None:
    found = load(tercio__toml=f"\n{written} = '5m'\n")
    assert found.config.stop_timeout == 300
    assert found.origins["stop_timeout"] == "tercio.toml:2"


def test_pyproject_is_read_where_there_is_no_tercio_toml(load: Load) -> None:
    text = "[project]\nname = 'x'\n\n[tool.tercio]\n# how many\nworkers = 3\n[tool.other]\na = 1\n"
    found = load(pyproject__toml=text)
    assert found.config.workers == 3
    assert found.origins["workers"] == "pyproject.toml:6"
    assert found.files == ("pyproject.toml",)


def test_tercio_toml_hides_pyproject_and_says_so(load: Load) -> None:
    found = load(pyproject__toml="[tool.tercio]\nworkers = 3\n", tercio__toml="workers = 2\n")
    assert found.config.workers == 2
    assert "ignored" in found.warnings[0]


def test_another_projects_broken_pyproject_is_not_our_business(load: Load) -> None:
    assert load(pyproject__toml="[project\n").files == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("workers = 3", 1),
        ("# workers = 1\n\n  workers=3", 3),
        ("workers = 3 # x", 1),
        ("# \u2028 x\r\nworkers = 3", 2),
        ('root-path = """/a"""\nheader = [\n "A: workers = 4",\n]\n"workers" = 3', 5),
        ("'workers' = 3", 1),
    ],
)
def test_the_line_of_a_key_is_found(load: Load, text: str, line: int) -> None:
    assert load(tercio__toml=text).origins["workers"] == f"tercio.toml:{line}"


def test_a_line_inside_of_a_long_string_is_no_key(load: Load) -> None:
    text = "ssl-keyfile-password = '''x\nworkers = 9\n'''\nworkers = 'many'\n"
    with pytest.raises(ConfigError, match=r"tercio\.toml:4: workers = 'many'"):
        load(tercio__toml=text)


def test_an_empty_variable_means_not_set(load: Load) -> None:
    found = load(environ={"TERCIO_WORKERS": "", "PORT": "", "WEB_CONCURRENCY": "2"})
    assert found.config.workers == 2
    assert found.config.port == 8000


def test_the_variables_of_platforms_are_honoured(load: Load) -> None:
    environ = {"PORT": "9000", "WEB_CONCURRENCY": "3", "FORWARDED_ALLOW_IPS": "10.0.0.0/8"}
    found = load(environ=environ)
    config = found.config
    assert (config.port, config.workers, config.forwarded_allow_ips) == (9000, 3, "10.0.0.0/8")
    assert found.origins["port"] == "PORT"


def test_repeatable_options_are_lists_in_files_and_separated_in_variables(load: Load) -> None:
    found = load(
        environ={"TERCIO_BIND": "127.0.0.1:1, unix:/run/x.sock", "TERCIO_HEADER": "A: 1, 2\nB: 3"},
        tercio__toml="worker-limit = ['memory=1GB', 'nofile=4096', 'cpu=1h']\n",
    )
    assert found.config.bind == ("127.0.0.1:1", "unix:/run/x.sock")
    assert found.config.header == ("A: 1, 2", "B: 3")
    assert found.config.resource_limits == {"memory": 10**9, "nofile": 4096, "cpu": 3600}


def test_unknown_variables_of_ours_are_warned_of(load: Load) -> None:
    environ = {
        "TERCIO_WRKERS": "4",
        "TERCIO_ATTACH": "x",
        "TERCIO_REQUIRE": "1",
        "TERCIO_X\x1b": "",
    }
    warnings = load(environ=environ).warnings
    assert len(warnings) == 2
    assert "TERCIO_WRKERS" in warnings[0]
    assert "TERCIO_WORKERS" in warnings[0]
    assert "\x1b" not in warnings[1]


def test_a_config_file_can_be_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("workers = 7\n")
    by_flag = load({"config": "other.toml"}, tercio__toml="workers = 1\n")
    by_variable = load(environ={"TERCIO_CONFIG": str(tmp_path / "other.toml")})
    assert 7 == by_flag.config.workers == by_variable.config.workers
    assert by_flag.origins["workers"] == "other.toml:1"


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cli", "binds"),
    [
        ({}, ("127.0.0.1:8000",)),
        ({"port": "0"}, ("127.0.0.1:0",)),
        ({"host": "::1"}, ("[::1]:8000",)),
        ({"host": "[::]", "port": "80"}, ("[::]:80",)),
        ({"host": "localhost"}, ("localhost:8000",)),
        ({"uds": "/run/x.sock"}, ("unix:/run/x.sock",)),
        ({"fd": "3"}, ("fd:3",)),
        ({"bind": (":80", "8001", "[::1]:82")}, ("0.0.0.0:80", "0.0.0.0:8001", "[::1]:82")),
        ({"bind": ("unix:///run/x", "fd://4")}, ("unix:/run/x", "fd:4")),
        ({"bind": ("systemd",)}, ("systemd",)),
    ],
)
def test_there_are_many_ways_to_name_an_address(
    load: Load, cli: dict[str, object], binds: tuple[str, ...]
) -> None:
    assert binds == load(cli).config.binds


def test_what_is_accepted_as_an_address_can_be_opened() -> None:
    from tercio.system.binds import parse_bind

    for text in (":80", "8001", "[::1]:82", "unix:///run/x", "fd://4", "systemd", "a-b.c:1"):
        accepted = OPTIONS["bind"].kind.parse(text)[0]
        assert accepted == str(parse_bind(accepted))


def test_an_address_from_a_flag_replaces_another_kind_from_a_file(load: Load) -> None:
    found = load({"uds": "/run/x.sock"}, tercio__toml="host = '0.0.0.0'\nport = 80\n")
    assert found.config.binds == ("unix:/run/x.sock",)
    assert found.config.host == "127.0.0.1"
    assert found.origins["host"] == "default"


def test_a_flag_for_the_port_keeps_the_host_of_the_file(load: Load) -> None:
    found = load({"port": "81"}, tercio__toml="host = '0.0.0.0'\n")
    assert found.config.binds == ("0.0.0.0:81",)


def test_the_platforms_port_contradicts_nothing(load: Load) -> None:
    assert load({"uds": "/x"}, {"PORT": "9"}).config.binds == ("unix:/x",)
    found = load(environ={"PORT": "9"}, tercio__toml="bind = ['127.0.0.1:1']\n")
    assert found.config.binds == ("127.0.0.1:1",)


def test_an_empty_flag_takes_back_what_the_file_says(load: Load) -> None:
    assert load({"uds": ""}, tercio__toml="uds = '/x'\n").config.binds == ("127.0.0.1:8000",)


# --- environment files -------------------------------------------------------------------------


def test_an_environment_file_adds_what_is_not_set(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TERCIO_WORKERS=5\nPORT=81\nA=1\nB=2\nBARE\n")
    found = load({"env_file": [".env"]}, {"PORT": "82", "A": "kept"})
    assert found.config.workers == 5
    assert found.config.port == 82
    assert found.origins["workers"] == "TERCIO_WORKERS in .env"
    assert found.environ_additions == {"TERCIO_WORKERS": "5", "B": "2"}
    assert found.files == (".env",)


def test_the_first_of_several_environment_files_wins(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("X=1\n")
    (tmp_path / "b").write_text("X=2\nY=3\n")
    found = load(tercio__toml="env-file = ['a', 'b']\n")
    assert found.environ_additions == {"X": "1", "Y": "3"}
    assert found.files == ("tercio.toml", "a", "b")


def test_a_broken_line_of_an_environment_file_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n'B=2\n")
    with pytest.raises(ConfigError, match=r"^\.env:2: expected NAME=VALUE$"):
        load({"env_file": ".env"})


def test_a_missing_extra_is_answered_with_the_pip_line(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['dotenv'] = None;"
        "from tercio import settings; settings.load({'env_file': 'x'}, {}, '.')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--env-file 'x': expected python-dotenv to be installed" in done.stderr
    assert "pip install 'tercio[env]'" in done.stderr


# --- what a reload may change ------------------------------------------------------------------

FIXED = {
    "allow_root",
    "chdir",
    "pid_file",
    "access_log_file",
    "error_log_file",
    "log_format",
    "host",
    "port",
    "bind",
    "uds",
    "fd",
    "uds_permissions",
    "backlog",
    "balance",
    "sticky",
    "name",
    "runtime_dir",
}
FIXED |= {"workers", "max_workers", "user", "group"}
FIXED |= {"redis_file"}
FIXED |= {
    "health",
    "admin",
    "admin_token_file",
    "admin_host",
    "admin_ssl_certfile",
    "admin_ssl_keyfile",
    "admin_insecure",
}
FIXED |= {"state_dir", "state_size", "state_sync", "redis", "redis_prefix", "ring_size", "attached"}


def test_only_these_options_are_fixed_for_the_life_of_a_cluster() -> None:
    assert {name for name, option in OPTIONS.items() if not option.reloadable} == FIXED


def test_a_refused_change_is_named_with_both_values_and_what_to_do() -> None:
    old = Config(port=8000, workers=2, stop_timeout=1)
    new = Config(port=9000, workers=4, stop_timeout=2)
    assert settings.changes(old, new) == ["port", "workers", "stop_timeout"]
    refused = settings.refused_changes(old, new)
    assert len(refused) == 2
    assert "port changed from '8000' to '9000'" in refused[0]
    assert "restart" in refused[0]
    assert "tercio scale" in refused[1]


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    for name in ("a", "b"):
        issued = trustme.CA().issue_cert("localhost")
        issued.private_key_pem.write_to_path(directory / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    return directory


def test_a_certificate_with_its_key_is_fine(load: Load, certificates: Path) -> None:
    cli = {"ssl_certfile": f"{certificates}/a.pem", "ssl_keyfile": f"{certificates}/a.key"}
    assert load(cli | {"ssl_ca_certs": cli["ssl_certfile"], "ssl_cert_reqs": "required"})


@pytest.mark.parametrize(
    ("cli", "says"),
    [
        ({"ssl_certfile": "a.pem", "ssl_keyfile": "b.key"}, "--ssl-certfile .*key values mismatch"),
        ({"ssl_certfile": "a.pem", "ssl_keyfile": "none"}, "--ssl-keyfile .*No such file"),
        ({"ssl_certfile": "a.key", "ssl_keyfile": "a.key"}, "--ssl-certfile .*expected a cert"),
        ({"ssl_certfile": "a.pem", "ssl_keyfile": "a.key", "ssl_ciphers": "?"}, "--ssl-ciphers"),
        ({"ssl_certfile": "a.pem", "ssl_keyfile": "a.key", "ssl_ca_certs": "a.key"}, "ca-certs"),
        ({"ssl_certfile": "a.pem", "ssl_keyfile": "a.key", "ssl_cert_reqs": "2"}, "ca-certs besi"),
        ({"ssl_keyfile": "a.key"}, "--ssl-keyfile .*expected ssl-certfile beside it"),
    ],
)
def test_tls_files_are_loaded_before_anything_starts(
    certificates: Path, cli: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        settings.load(APP | cli, {}, str(certificates))


def test_an_unreadable_directory_is_no_excuse(load: Load, tmp_path: Path) -> None:
    (tmp_path / "tercio.toml").mkdir()
    with pytest.raises(ConfigError, match=r"tercio\.toml: expected a readable file"):
        load()


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
@pytest.mark.parametrize("flag", ["config", "env_file", "ssl_certfile"])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(
    load: Load, tmp_path: Path, flag: str, kind: str
) -> None:
    path = tmp_path / "options"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    value: object = [str(path)] if flag == "env_file" else str(path)
    with pytest.raises(ConfigError, match="it is not a regular file"):
        load({flag: value})


def test_a_customary_file_that_is_a_fifo_is_refused(load: Load, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tercio.toml")
    with pytest.raises(ConfigError, match=r"tercio\.toml: .*; it is not a regular file"):
        load()


def test_a_file_of_more_than_a_mebibyte_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match="it is larger than 1048576 bytes"):
        load(tercio__toml="#" * (1 << 20) + "\n")
