"""What the page on versions says of this one."""

import json
import re
import shutil
import sys
import tomllib
import urllib.request
from pathlib import Path

from tercio import __version__
from tercio.engines.redis import envelope
from tercio.primary import statedir
from tercio.system import rundir
from tests.cluster.look import short_directory
from tests.docs.reader import ROOT, Reader

PAGE = (ROOT / "docs/versioning.md").read_text()

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    assert f"This is version {__version__}," in PAGE
    assert f"format, which is {statedir.FORMAT} now" in PAGE
    assert f"version {rundir.PROTOCOL}: fields may be added" in PAGE
    assert f"of their form, which is {envelope.VERSION}," in PAGE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = [
        found[1]
        for each in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
    ]
    assert f"CPython {', '.join(pythons[:-1])} and {pythons[-1]}," in PAGE


def test_a_cluster_whose_tercio_is_upgraded_in_place_serves_on_and_says_so(tmp_path: Path) -> None:
    source = tmp_path / "src"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", source, ignore=ignored)
    (tmp_path / "shop.py").write_text(APP)
    quick = {"TERCIO_SOAK": "0.1", "TERCIO_TRIAL": "0.1"}
    with short_directory() as run, Reader(tmp_path, run, PYTHONPATH=str(source), **quick) as reader:
        run.chmod(0o700)
        tercio = f"{sys.executable} -m tercio"
        server = reader.open(f"{tercio} run shop:app -w 2")
        server.shows("all 2 workers serve")

        version = source / "tercio/version.py"
        version.write_text(version.read_text().replace(__version__, "999.0.0"))

        rejected = reader.type(f"{tercio} reload; echo exit code $?")
        assert f"Tercio was upgraded from {__version__} to 999.0.0; restart" in rejected
        assert "exit code 1" in rejected
        with urllib.request.urlopen(f"http://127.0.0.1:{reader.port}/") as answer:
            assert answer.read() == b"served"
        attaching = "from tercio import cluster; cluster.bus.publish('news', 1)"
        attached = reader.type(f'{tercio} exec -- {sys.executable} -c "{attaching}"')
        assert "VersionMismatch" in attached
        workers = json.loads(reader.type(f"{tercio} status --json"))["workers"]
        assert [each["generation"] for each in workers if each["phase"] == "serving"] == [1, 1]
        assert "stopped; nothing was cut" in reader.type(f"{tercio} stop")
