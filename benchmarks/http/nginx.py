"""nginx before a server, with kept connections to it."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.http.ask import Wrong, ask
from benchmarks.http.servers import pin
from tests.ports import free_port

_CONFIG = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
  uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  upstream server {{ server 127.0.0.1:{upstream}; keepalive {kept}; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""


def program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def before(upstream: int, cpu: int | None, *, kept: int = 64) -> Iterator[int]:
    """Gives the port of an nginx that passes all to the port given, and keeps some connections."""
    nginx = program()
    assert nginx is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as directory:
        config = Path(directory) / "nginx.conf"
        config.write_text(_CONFIG.format(dir=directory, port=port, upstream=upstream, kept=kept))
        # Its worker runs as another user when root starts it, and must get at its directories.
        Path(directory).chmod(0o755)
        process = subprocess.Popen(
            [nginx, "-p", directory, "-c", str(config), "-e", f"{directory}/error.log"],
            preexec_fn=pin(cpu),
        )
        try:
            _wait_until_answered(port)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_answered(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            ask(port, "/")
            return
        except (OSError, Wrong):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
