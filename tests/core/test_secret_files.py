"""Each secret option can be read from a file, by flag, variable and configuration file."""

import dataclasses
from pathlib import Path

import pytest

from tercio.config import OPTIONS
from tercio.errors import ConfigError
from tercio.settings import Settings, load

URL = "redis://:planted-secret@127.0.0.1/0"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "url").write_text(URL + "\n")
    return tmp_path


def read(place: Path, cli: dict[str, object] | None = None, **environ: str) -> Settings:
    return load(cli or {}, environ, str(place), require_app=False)


def test_every_secret_has_a_file_beside_it() -> None:
    for name, option in OPTIONS.items():
        if option.secret:
            assert f"{name}_file" in OPTIONS


def test_it_is_read_from_a_file_by_flag_variable_and_key(place: Path) -> None:
    by_flag = read(place, {"redis_file": "url"})
    by_variable = read(place, TERCIO_REDIS_FILE="url")
    (place / "tercio.toml").write_text('redis-file = "url"\n')
    by_key = read(place)
    for found in (by_flag, by_variable, by_key):
        assert found.config.redis == URL
        assert found.origins["redis"] == "url"
        assert "planted-secret" not in str(found.to_json())


def test_the_higher_rank_wins_and_two_of_one_rank_contradict(place: Path) -> None:
    assert read(place, {"redis": "redis://x"}, TERCIO_REDIS_FILE="url").config.redis == "redis://x"
    assert read(place, {"redis_file": "url"}, TERCIO_REDIS="redis://x").config.redis == URL
    with pytest.raises(ConfigError, match="expected it or redis, not both"):
        read(place, TERCIO_REDIS_FILE="url", TERCIO_REDIS=URL)
    # An empty variable is not set.
    assert read(place, TERCIO_REDIS_FILE="url", TERCIO_REDIS="").config.redis == URL


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("none", None, "No such file"), ("bad", b"\xff", "invalid"), ("bad", b"planted", "redis://")],
)
def test_a_file_without_one_is_an_error_that_does_not_repeat_it(
    place: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (place / name).write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        read(place, TERCIO_REDIS_FILE=name)
    assert "planted" not in str(caught.value)
    assert "TERCIO_REDIS_FILE" in str(caught.value)


def test_a_secret_is_in_no_json_of_the_configuration(place: Path) -> None:
    config = read(place, TERCIO_REDIS_FILE="url").config
    assert "planted-secret" not in str(config.to_json(redacted=True))
    assert config.secrets == (URL,)
    assert dataclasses.replace(config, redis="").secrets == ()
