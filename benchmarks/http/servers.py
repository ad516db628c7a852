"""The servers: their command lines, and one of them running."""

import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http.ask import Wrong, ask
from benchmarks.http.cpu import Cpu, resident
from benchmarks.reload.measure import kill_session
from tests.cluster.spent import family
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 30.0  # seconds for a boot


@dataclass(frozen=True)
class Command:
    """A command line, what adds TLS, and what makes it the one or the other of two variants.

    They differ in the access log; those of the rig count or don't.
    """

    line: str
    tls: str = "--ssl-certfile {dir}/cert.pem --ssl-keyfile {dir}/key.pem"
    without: str = "--no-access-log"
    more: str = "--access-log"


# All keep idle connections for longer than a measurement, and take 8,000 connections at once.
_TERCIO = "tercio run {app} --host 127.0.0.1 --port {port} -w {workers} --runtime-dir {dir}/run "
_GUNICORN = (
    "gunicorn {app} -b 127.0.0.1:{port} -w {workers} --keep-alive 60 --worker-connections 8000 "
    "--backlog 4096 --no-control-socket --log-level warning -k "
)
_CERTFILE = "--certfile {dir}/cert.pem --keyfile {dir}/key.pem"
COMMANDS = {
    "tercio": Command(_TERCIO + "--server tercio"),
    "tercio-uvicorn": Command(_TERCIO + "--server uvicorn"),
    "uvicorn": Command(
        "uvicorn {app} --host 127.0.0.1 --port {port} --workers {workers} --loop uvloop "
        "--http httptools --timeout-keep-alive 60 --backlog 4096"
    ),
    "gunicorn-asgi": Command(
        _GUNICORN + "asgi --asgi-loop uvloop", _CERTFILE, "", "--access-logfile -"
    ),
    "gunicorn-uvicorn": Command(
        _GUNICORN + "uvicorn_worker.UvicornWorker", _CERTFILE, "", "--access-logfile -"
    ),
    "hypercorn": Command(
        "hypercorn {app} -b 127.0.0.1:{port} -w {workers} -k uvloop --keep-alive 60 "
        "--backlog 4096 --log-level warning",
        _CERTFILE,
        "",
        "--access-logfile -",
    ),
    "granian": Command(
        "granian {app} --interface asgi --host 127.0.0.1 --port {port} --workers {workers} "
        "--loop uvloop --log-level warning --backlog 4096 --backpressure 8000 "
        "--http1-header-read-timeout 60000",
        "--ssl-certificate {dir}/cert.pem --ssl-keyfile {dir}/key.pem",
    ),
}
WSGI = "benchmarks.http.wsgi:app"
THREADED = {
    "tercio": Command(_TERCIO + "--threads 10"),
    "uvicorn": Command(COMMANDS["uvicorn"].line.replace("{app}", "benchmarks.http.wsgi:bridged")),
    "gunicorn-gthread": Command(_GUNICORN + "gthread --threads 10", "", ""),
    "granian": Command(
        "granian {app} --interface wsgi --host 127.0.0.1 --port {port} --workers {workers} "
        "--blocking-threads 10 --log-level warning --backlog 4096 --backpressure 8000"
    ),
}
"""With ten threads each. uvicorn serves what a2wsgi makes of the application."""
_RIG = Command("python -m benchmarks.http.rig {app} --port {port}", "", "", "--counts")
LOGGING = "+log"
"""Ends the name of a server that writes its access log."""
COUNTING = ("rig", "rig+counts")
"""The server of a worker by itself, with hooks that do nothing and with those of a worker."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    port: int
    log: Path

    def cpu(self) -> Cpu:
        return Cpu.of(family(self.pid))

    def resident(self) -> int:
        return resident(family(self.pid))


@contextmanager
def running(
    name: str, app: str, *, workers: int, cpu: int | None, tls: bool, path: str = "/"
) -> Iterator[Running]:
    """A server, from the moment when it answers; pinned to a processor if one is given."""
    commands = THREADED if app == WSGI else {**COMMANDS, "rig": _RIG}
    command = commands[plain(name)]
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-http-") as directory:
        line = command.line + " " + (command.without if name == plain(name) else command.more)
        if tls:
            make_certificate(directory)
            line += " " + command.tls
        program, *rest = line.format(app=app, port=port, workers=workers, dir=directory).split()
        log = Path(directory) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(program)), *rest],
                cwd=ROOT,
                env={
                    **os.environ,
                    "TERCIO_ALLOW_ROOT": "1",
                    "PYTHONPATH": str(ROOT),
                    "TMPDIR": directory,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=pin(cpu),
            )
        try:
            _wait_until_answered(process, port, path, tls, log)
            if workers > 1:
                time.sleep(1.0)  # the first one answers; the others boot
            yield Running(process.pid, port, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            kill_session(process.pid)
            process.wait()


def plain(name: str) -> str:
    """The name of a server without what one variant of it does more."""
    return name.partition("+")[0]


def pin(cpu: int | None):
    """What a child calls before it becomes another program; None to leave it anywhere."""
    return None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})


def make_certificate(directory: str) -> None:
    """A certificate for 127.0.0.1 that signs itself."""
    line = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=127.0.0.1 -keyout {directory}/key.pem -out {directory}/cert.pem"
    )
    subprocess.run(line.split(), check=True, capture_output=True)


def _wait_until_answered(
    process: subprocess.Popen[bytes], port: int, path: str, tls: bool, log: Path
) -> None:
    deadline = time.monotonic() + LONGEST
    while True:
        try:
            ask(port, path, tls=tls)
            return
        except (OSError, ssl.SSLError, Wrong) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"{process.args} does not serve: {error}\n{log.read_text()}"
                ) from error
            time.sleep(0.05)
