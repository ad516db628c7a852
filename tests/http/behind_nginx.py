"""`scripts/behind-nginx`: every case of `malformed` through a proxy that keeps its connections.

What nginx and our server read in two ways would let one client write into another's requests. So
each case is sent with a hidden and a following request, and then a good one comes over the same
connections of the proxy: it has to get its own answer, and the application must see nothing else.

nginx itself reads some cases as two requests (1.22 ends a chunk's line at a bare line feed). Then
it sends two, and both are its own: a fault is what it has not read and the application has seen.
"""

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tercio.http.asgi import Receive, Scope, Send
from tests.http.harness import Served
from tests.http.malformed import CASES, NEXT
from tests.ports import free_port
from tests.worker.rig import until

_QUIET = 0.3
"""Seconds without a byte after which an answer is over; nginx waits for more of some cases."""

_LARGEST = 20_000
"""Bytes of a case: what is larger is refused by nginx, whose own limits are not our subject."""

_CONFIGURATION = """
daemon off; worker_processes 1; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 1024; }}
http {{
    log_format read $request_uri; access_log {place}/read read;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    client_header_buffer_size 64k; large_client_header_buffers 8 128k;
    # As little as possible is to be refused by nginx.
    ignore_invalid_headers off; underscores_in_headers on;
    upstream ours {{ server 127.0.0.1:{upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://ours; proxy_http_version 1.1; proxy_request_buffering off;
            proxy_set_header Connection ""; proxy_set_header Host $http_host;
        }}
    }}
}}
"""


class Witness:
    """An application that remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.seen.append(path)
        while (await receive()).get("more_body", False):
            pass
        headers = [(b"x-path", path.encode("ascii", "replace")), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def main(nginx: str) -> int:
    """Play all cases; 1 if one of them reached more than it should."""
    witness = Witness()
    faults: list[str] = []
    cases = [case for case in CASES if len(case.data) <= _LARGEST]
    reached = split = 0
    with (
        Served(witness, lifespan="off", log_level="critical") as served,
        proxy(nginx, served.address[1]) as (port, read),
    ):
        for case in cases:
            witness.seen.clear()
            received = talk(port, case.data + NEXT)
            seen = list(witness.seen)
            reached += bool(seen)
            split += "/smuggled" in seen
            ours = "/smuggled" in seen and not is_told(read, split)
            if ours or len(seen) > received.count(b"HTTP/1.1 "):
                faults.append(f"{case.name}: the application saw {seen}")
            witness.seen.clear()
            after = talk(port, b"GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            if witness.seen != ["/after"] or not re.search(rb"x-path: /after\r\n", after, re.I):
                faults.append(f"{case.name}: then a good request saw {after[:60]!r}")
    print(
        f"{len(cases)} cases, {reached} of them reached the application, {split} as nginx reads "
        f"them with a request inside; {len(faults)} faults"
    )
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


@contextmanager
def proxy(nginx: str, upstream: int) -> Iterator[tuple[int, Path]]:
    """nginx before a port of this machine; the port it listens on, and a list of what it reads."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # its workers are another user
        port = free_port()
        file = Path(place, "nginx.conf")
        file.write_text(_CONFIGURATION.format(place=place, upstream=upstream, port=port))
        process = subprocess.Popen([nginx, "-p", place, "-c", str(file), "-e", f"{place}/errors"])
        try:
            until(lambda: listens(port), "nginx listens")
            yield port, Path(place, "read")
        finally:
            process.terminate()
            process.wait()


def is_told(read: Path, times: int) -> bool:
    """Whether nginx has read the hidden request that often; it says so when it has answered."""
    try:
        until(lambda: read.read_text().split().count("/smuggled") >= times)
    except AssertionError:
        return False
    return True


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def talk(port: int, data: bytes) -> bytes:
    """Send everything, and read until the end or until nothing comes any more."""
    received = b""
    # An OSError: it was refused before it was sent, or nothing more comes.
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(_QUIET)
        sock.sendall(data)
        while chunk := sock.recv(1 << 16):
            received += chunk
    return received


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
