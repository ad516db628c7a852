"""Files that an application answers with by their path."""

import http.client
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tercio.http.asgi import Message, Receive, Scope, Send
from tercio.http.files import _PART
from tests.http.harness import LIMIT, Served


async def sends(scope: Scope, receive: Receive, send: Send) -> None:
    """The file that the query names, with the length that the path says."""
    length = scope["path"][1:].encode()
    headers = [(b"content-length", length)] if length else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    path = scope["query_string"].decode()
    message: Message = {"type": "http.response.pathsend", "path": path}
    await send(message)


def get(address: tuple[str, int], path: str, method: str = "GET", **headers: str) -> bytes:
    client = http.client.HTTPConnection(*address, timeout=LIMIT)
    try:
        client.request(method, path, headers=headers)
        return client.getresponse().read()
    finally:
        client.close()


@pytest.mark.parametrize("size", [0, 1, _PART - 1, _PART, _PART + 1, 3 * _PART])
def test_a_file_of_any_size_arrives_whole(loop: str, size: int, tmp_path: Path) -> None:
    content = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    file = tmp_path / "file"
    file.write_bytes(content[:size])
    with Served(sends, loop=loop, lifespan="off", pathsend=True) as served:
        assert get(served.address, f"/{size}?{file}") == content[:size]
        assert get(served.address, f"/?{file}") == content[:size]  # in chunks
        assert get(served.address, f"/{size}?{file}", "HEAD") == b""


def test_a_file_that_is_not_there_breaks_the_answer_off(loop: str, tmp_path: Path) -> None:
    with Served(sends, loop=loop, lifespan="off", pathsend=True) as served:
        with pytest.raises(http.client.HTTPException):
            get(served.address, f"/10?{tmp_path}/none")
        served.running.logged.clear()  # the application's failure, as it should be
        assert served.running.counts.failed == 1


def test_static_files_of_a_framework_use_it(loop: str, tmp_path: Path) -> None:
    content = b"0123456789" * 100_000
    (tmp_path / "page").write_bytes(content)
    app = Starlette(routes=[Mount("/", StaticFiles(directory=tmp_path))])
    with Served(app, loop=loop, pathsend=True) as served:
        assert get(served.address, "/page") == content
        assert get(served.address, "/page", Range="bytes=5-14") == b"5678901234"
