import logging
from pathlib import Path

import pytest

from tercio.cluster.keyring import Secrets
from tercio.errors import ConfigError


class Shelf:
    """A store in a dict, which may lose a race a number of times."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.races: list[object] = []

    def get(self, key: str) -> object:
        return self.values.get(key)

    def compare_and_set(self, key: str, expected: object, new: object) -> bool:
        if self.races:
            self.values[key] = self.races.pop()
        if self.values.get(key) != expected:
            return False
        self.values[key] = new
        return True


def test_all_who_ask_get_the_same_random_one() -> None:
    shelf = Shelf()
    first, second = Secrets(shelf, environ={}), Secrets(shelf, environ={})
    (secret,) = first.history("session")
    assert second.history("session") == (secret,)
    assert len(bytes.fromhex(secret)) == 32
    assert first.history("other") != (secret,)


def test_who_loses_the_race_takes_the_winner_s() -> None:
    shelf = Shelf()
    shelf.races = [["winner"]]
    assert Secrets(shelf, environ={}).history("session") == ("winner",)


def test_a_variable_comes_before_a_file_and_a_file_before_the_state(tmp_path: Path) -> None:
    (tmp_path / "my-key").write_text("from file\n")
    shelf = Shelf()
    environ = {"TERCIO_SECRET_MY_KEY": "from variable"}
    assert Secrets(shelf, str(tmp_path), environ=environ).history("my-key") == ("from variable",)
    assert Secrets(shelf, str(tmp_path), environ={}).history("my-key") == ("from file",)
    assert shelf.values == {}
    assert Secrets(shelf, str(tmp_path), environ={}).history("another") != ("from file",)


def test_a_rotated_secret_stays_good_for_a_while() -> None:
    secrets = Secrets(Shelf(), environ={})
    (first,) = secrets.history("session")
    second = secrets.rotate("session")
    assert secrets.history("session") == (second, first)
    third = secrets.rotate("session")
    assert secrets.history("session") == (third, second)
    fourth = secrets.rotate("session", keep=0)
    assert secrets.history("session") == (fourth,)


def test_what_is_given_from_outside_is_not_rotated_here() -> None:
    secrets = Secrets(Shelf(), environ={"TERCIO_SECRET_A": "x"})
    with pytest.raises(ConfigError, match="change it there"):
        secrets.rotate("a")


@pytest.mark.parametrize("name", ["", "../etc/passwd", "a/b", ".hidden", "a b", "x" * 101])
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected up to 100 letters"):
        Secrets(Shelf(), str(tmp_path), environ={}).history(name)


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\n")
    with pytest.raises(ConfigError, match="expected 1 to"):
        Secrets(Shelf(), str(tmp_path), environ={}).history("a")


def test_a_random_one_in_redis_or_kubernetes_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            Secrets(Shelf(), environ={}).history("a")
        assert not caplog.records
        remote = Secrets(Shelf(), is_remote=True, environ={})
        remote.history("a")
        remote.history("a")
        Secrets(Shelf(), environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).history("a")
    assert ["Redis" in record.message for record in caplog.records] == [True, False]
