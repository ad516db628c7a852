"""What a `tercio run` without an application finds in a Django project."""

from pathlib import Path

import pytest

from tercio.errors import ConfigError
from tercio.settings.django import find
from tercio.settings.loading import load

MANAGE = """
import os, sys
def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
raise SystemExit("it was run")
"""


def project(place: Path, **files: str) -> str:
    (place / "mysite").mkdir()
    (place / "manage.py").write_text(files.pop("manage", MANAGE))
    for name, text in files.items():
        path = place / "mysite" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return str(place)


def app(place: str, **environ: str) -> str:
    found = find(place, environ)
    assert found is not None
    return found.app


def test_the_settings_of_startproject_name_the_application(tmp_path: Path) -> None:
    here = project(
        tmp_path, settings="1 / 0\nROOT_URLCONF = 'a'\nWSGI_APPLICATION = 'mysite.wsgi.application'"
    )
    settings = load({}, {}, here)
    assert settings.config.app == "mysite.wsgi:application"
    assert settings.origins["app"] == "WSGI_APPLICATION in mysite.settings"
    assert load({"app": "other:app"}, {}, here).config.app == "other:app"


def test_asgi_comes_first_and_none_is_none(tmp_path: Path) -> None:
    here = project(
        tmp_path,
        settings="WSGI_APPLICATION: str = 'mysite.wsgi.application'\n"
        "ASGI_APPLICATION = 'mysite.asgi.application'",
        production="from mysite.settings import *\nASGI_APPLICATION = None",
    )
    assert app(here) == "mysite.asgi:application"
    production = app(here, DJANGO_SETTINGS_MODULE="mysite.production")
    assert production == "mysite.wsgi:application"


def test_settings_in_several_files_are_followed(tmp_path: Path) -> None:
    here = project(
        tmp_path,
        manage='os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.conf.local"',
        conf__local="from .base import *\nfrom django.conf.global_settings import *",
        conf__base="from ..shared import *\nfrom .local import *",
        shared="WSGI_APPLICATION = 'mysite.wsgi.app'",
    )
    assert app(here) == "mysite.wsgi:app"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"settings": "DEBUG = True"}, "set neither ASGI_APPLICATION nor WSGI_APPLICATION"),
        ({}, "are not below"),
        ({"manage": "print(1)"}, "names no DJANGO_SETTINGS_MODULE"),
        ({"settings": "WSGI_APPLICATION = 'app'"}, "has no module"),
        ({"settings": "WSGI_APPLICATION = ("}, "cannot be read"),
    ],
    ids=["unset", "missing", "unnamed", "bare", "broken"],
)
def test_a_project_that_does_not_say_is_told_what_to_do(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}.*tercio run mysite.wsgi:application"):
        load({}, {}, project(tmp_path, **files))


def test_elsewhere_an_application_is_asked_for(tmp_path: Path) -> None:
    assert find(str(tmp_path), {}) is None
    with pytest.raises(ConfigError, match="expected the application"):
        load({}, {}, str(tmp_path))
