"""The pages in docs/migrating, tried: another server, then Tercio with its configuration."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, Cluster
from tests.ports import free_port

PAGES = Path(__file__).resolve().parents[2] / "docs/migrating"

DJANGO = """
import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])


def page(request):
    seen = {"path": request.path, "method": request.method, "query": request.GET.dict()}
    return JsonResponse(seen | {"host": request.get_host().partition(":")[0]})


urlpatterns = [path("<path:anything>", lambda request, anything: page(request)), path("", page)]
application = get_wsgi_application()
"""

ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    text = f"{scope['method']} {scope['root_path']} {scope['path']} {scope['query_string']!r}"
    body = text.encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


def block(page: str, language: str, begins: str) -> str:
    """The block of a page that begins so."""
    text = (PAGES / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return next(str(each) for each in found if each.startswith(begins))


@contextmanager
def other_server(cluster: Cluster, port: int, *command: str) -> Iterator[None]:
    """Another server, from its first answer on; all of it is gone in the end."""
    with (cluster.directory / "other.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=cluster.directory,
            env=cluster.environ,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                assert process.poll() is None, (cluster.directory / "other.log").read_text()
                assert time.monotonic() < deadline
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def ask(port: int) -> list[str]:
    """What some requests are answered."""
    answers = []
    for path in ("/", "/a/b?c=d", "/%C3%A9"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            answers.append(f"{answer.status} {answer.headers['content-type']} {answer.read()!r}")
    return answers


def imported(cluster: Cluster, file: str, port: int) -> dict[str, object]:
    """Import a file to tercio.toml, and serve on ``port`` by it; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "config", "import", file],
        cwd=cluster.directory, env=cluster.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    text = done.stdout.replace(":8000", f":{port}").replace('"8000"', f'"{port}"')
    (cluster.directory / "tercio.toml").write_text(text)
    return tomllib.loads(done.stdout)


def test_a_django_project_with_gunicorns_file_is_served_the_same(cluster: Cluster) -> None:
    (cluster.directory / "shop.py").write_text(DJANGO)
    port = free_port()
    conf = block("from-gunicorn.md", "python", "# gunicorn.conf.py")
    (cluster.directory / "gunicorn.conf.py").write_text(conf.replace(":8000", f":{port}"))
    with other_server(cluster, port, "gunicorn", "--no-control-socket"):
        before = ask(port)
    (cluster.directory / "gunicorn.conf.py").write_text(conf)
    said = imported(cluster, "gunicorn.conf.py", port)
    assert said["threads"] == 8
    assert said["stop-timeout"] == 40
    cluster.start("--bind", f"127.0.0.1:{port}", app="shop:application")
    assert ask(port) == before
    config = cluster.ask("config")["config"]
    assert config["blocked_kill"] == 60
    assert config["limit_max_requests"] == 1000


def test_the_same_command_line_as_uvicorns_is_served_the_same(cluster: Cluster) -> None:
    (cluster.directory / "shop.py").write_text(ASGI)
    page = (PAGES / "from-uvicorn.md").read_text()
    theirs, ours = re.findall(r"^(?:uvicorn|tercio run) +shop:app (.*)$", page, re.M)
    assert theirs == ours
    port = free_port()
    words = theirs.replace("8000", str(port)).replace("0.0.0.0", "127.0.0.1").split()
    words[words.index("--workers") + 1] = "2"
    with other_server(cluster, port, "uvicorn", "shop:app", *words):
        before = ask(port)
    cluster.start(*words, app="shop:app")
    assert ask(port) == before


def test_an_ecosystem_of_pm2_is_served(cluster: Cluster) -> None:
    (cluster.directory / "shop.py").write_text(ASGI)
    text = block("from-pm2.md", "json", "{")
    (cluster.directory / "ecosystem.json").write_text(text)
    app = json.loads(text)["apps"][0]
    port = free_port()
    words = app["args"].replace("8000", str(port)).split()
    with other_server(cluster, port, app["script"], *words):
        before = ask(port)
    said = imported(cluster, "ecosystem.json", port)
    assert said["app"] == "shop:app"
    cluster.start("--port", str(port), app="shop:app")
    assert ask(port) == before
    config = cluster.ask("config")["config"]
    assert (config["workers"], config["stop_timeout"], config["name"]) == (2, 5, "shop")


@pytest.mark.parametrize("page", ["from-gunicorn.md", "from-uvicorn.md", "from-pm2.md"])
def test_the_options_that_a_page_names_are_there(page: str) -> None:
    from tercio.config import OPTIONS
    from tercio.options.elsewhere import ELSEWHERE

    known = {flag for option in OPTIONS.values() for flag in (*option.flags, *option.aliases)}
    known |= {f"--no-{flag[2:]}" for flag in known}
    known |= {flag for other in ELSEWHERE for flag in other.flags}
    known |= {"--write", "--show-origin", "--app", "--config", "--name", "--ssl-"}
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", (PAGES / page).read_text()))
    assert sorted(named - known) == []
