"""Clients that people have: Python's own, aiohttp, and curl where there is one."""

import asyncio
import http.client
import io
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from tests.http.harness import LIMIT


@dataclass(frozen=True)
class Got:
    """An answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetch(Protocol):
    """One request on a connection of its own."""

    def __call__(
        self,
        address: tuple[str, int],
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = ...,
        body: bytes | None = None,
    ) -> Got: ...


_NONE: Final[Mapping[str, str]] = {}


def standard(
    address: tuple[str, int],
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] = _NONE,
    body: bytes | None = None,
) -> Got:
    """`http.client`."""
    connection = http.client.HTTPConnection(*address, timeout=LIMIT)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Got(response.status, lower, response.read())
    finally:
        connection.close()


def of_aiohttp(
    address: tuple[str, int],
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] = _NONE,
    body: bytes | None = None,
) -> Got:
    """`aiohttp`, which sends a body in chunks if it comes from a generator."""

    async def run() -> Got:
        timeout = aiohttp.ClientTimeout(LIMIT)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(
                method,
                "http://{}:{}{}".format(*address, path),
                headers=headers,
                # Bytes are for small bodies, it says.
                data=io.BytesIO(body) if body else body,
                chunked=True if body and "Content-Length" not in headers else None,
                allow_redirects=False,
                skip_auto_headers=["Accept-Encoding"],
            ) as response,
        ):
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Got(response.status, lower, await response.read())

    return asyncio.run(run())


def curl(
    address: tuple[str, int],
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] = _NONE,
    body: bytes | None = None,
) -> Got:
    """curl, which expects a 100 before it sends much."""
    program = shutil.which("curl")
    assert program is not None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        options = ["-s", "-S", "--noproxy", "*", "--max-time", str(LIMIT), "--path-as-is"]
        options += ["-D", f"{name}/head", "-o", f"{name}/body"]
        options += ["-I"] if method == "HEAD" else ["-X", method]
        for field, value in headers.items():
            options += ["-H", f"{field}: {value}"]
        if body is not None:
            (directory / "sent").write_bytes(body)
            options += ["--data-binary", f"@{name}/sent"]
        url = "http://{}:{}{}".format(*address, path)
        subprocess.run(
            [program, *options, url], stdin=subprocess.DEVNULL, check=True, timeout=2 * LIMIT
        )
        heads = (directory / "head").read_text("latin-1").split("\r\n\r\n")
        first, *lines = next(
            head for head in reversed(heads) if head.startswith("HTTP/")
        ).splitlines()
        pairs = (line.partition(":") for line in lines)
        lower = {field.lower(): value.strip() for field, _, value in pairs}
        file = directory / "body"
        # -I writes the head for a body.
        content = file.read_bytes() if method != "HEAD" and file.exists() else b""
        return Got(int(first.split()[1]), lower, content)


CLIENTS: Final[list[Fetch]] = [standard, of_aiohttp, *([curl] if shutil.which("curl") else [])]
