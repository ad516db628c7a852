"""The configuration for nginx of the page on operations, and what it promises of a reload."""

import http.client
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tercio.config import Config
from tercio.testing import workers
from tests.api import pages
from tests.cluster.harness import PATIENCE
from tests.ports import free_port

(BLOCK,) = [each.text for each in pages.blocks("operations.md") if each.language == "nginx"]

FETCH = 120
"""Seconds for a package of Debian."""

CLIENT = "127.0.0.2"
"""Not where nginx is, which is trusted."""

REST = """
daemon off; worker_processes 1; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    {block}
}}
"""

APP = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute


async def who(request):
    connection = request.headers.get("connection")
    return JSONResponse([request.client.host, request.url.scheme, connection])


async def echo(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app = Starlette(routes=[Route("/", who), WebSocketRoute("/echo", echo)])
"""


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program: the one that is here, or Debian's, unpacked and not installed."""
    if here := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"):
        return here
    if shutil.which("apt-get") is None:
        pytest.skip("no nginx here, and only Debian's can be fetched")
    place = tmp_path_factory.mktemp("debian")
    download = ["apt-get", "-qq", "download", "nginx"]
    if subprocess.run(download, cwd=place, timeout=FETCH).returncode:
        subprocess.run(["apt-get", "-qq", "update"], check=True, timeout=FETCH)
        subprocess.run(download, cwd=place, check=True, timeout=FETCH)
    (package,) = place.glob("nginx_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, place], check=True, timeout=FETCH)
    return str(place / "usr/sbin/nginx")


def test_nginx_closes_idle_connections_first() -> None:
    (seconds,) = re.findall(r"keepalive_timeout (\d+)s;", BLOCK)
    config = Config(app="shop:app")
    assert float(seconds) < config.timeout_keep_alive
    (silence,) = re.findall(r"proxy_read_timeout (\d+)s;", BLOCK)
    assert config.ws_ping_interval < float(silence)


@contextmanager
def proxy(nginx: str, place: Path, upstream: str) -> Iterator[int]:
    """nginx with the page's configuration before a server of this machine; its port."""
    place.mkdir()
    place.chmod(0o755)  # its workers are another user
    port = free_port()
    block = BLOCK.replace("127.0.0.1:8000", upstream)
    block = block.replace("listen 80;", f"listen 127.0.0.1:{port};")
    file = place / "nginx.conf"
    file.write_text(REST.format(place=place, block=block))
    process = subprocess.Popen([nginx, "-p", place, "-c", file, "-e", place / "errors"])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ask(port: int) -> tuple[int, str]:
    """Status and body of one request, as soon as nginx is there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=PATIENCE, source_address=(CLIENT, 0)
        )
        try:
            connection.request("GET", "/", headers={"X-Forwarded-For": "10.1.2.3"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        finally:
            connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="has one address of loopback only")
def test_nginx_hands_over_clients_and_websockets_and_notices_no_reload(
    nginx: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    quick = ("--soak", "0.2", "--trial", "0.2", "--drain-timeout", "1")
    with (
        workers("shop:app", 2, *quick, cwd=tmp_path) as running,
        proxy(nginx, tmp_path / "nginx", running.url.removeprefix("http://")) as port,
    ):
        # What the client claims to be forwarded for is not believed.
        assert ask(port) == (200, f'["{CLIENT}","http",null]')
        with connect(f"ws://127.0.0.1:{port}/echo") as socket:
            socket.send("hello")
            assert socket.recv(timeout=PATIENCE) == "hello"
        for _ in range(3):
            assert [ask(port)[0] for _ in range(50)] == [200] * 50
            running.reload()
            assert [ask(port)[0] for _ in range(50)] == [200] * 50
