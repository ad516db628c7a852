"""The servers: their command lines, and one of them running."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.connections.client import Target
from benchmarks.http.servers import make_certificate
from benchmarks.reload.measure import kill_session
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LONGEST = 30.0  # seconds for a boot
NICE = os.getpriority(os.PRIO_PROCESS, 0)

_PYTHON_TLS = "--certfile {dir}/cert.pem --keyfile {dir}/key.pem"
_PM2 = Path(sys.prefix) / "node/node_modules/.bin"


@dataclass(frozen=True)
class Command:
    """A command line, what adds TLS to it, and what makes it reload."""

    line: str
    tls: str = ""
    reload: signal.Signals | str = signal.SIGHUP
    needs: tuple[str, ...] = ()  # options of Tercio that it must know


def _tercio(more: str, *needs: str) -> Command:
    line = "tercio run app:app --host 127.0.0.1 --port {port} -w {workers} --runtime-dir {dir}/run"
    return Command(
        f"{line} --no-access-log {more}",
        "--ssl-certfile {dir}/cert.pem --ssl-keyfile {dir}/key.pem",
        needs=needs,
    )


_GUNICORN = (
    "gunicorn app:app -b 127.0.0.1:{port} -w {workers} --keep-alive 60 --worker-connections 8000 "
    "--backlog 2048 --no-control-socket --log-level warning -k "
)

# All keep idle connections for longer than a measurement, and come back after a SIGKILL.
COMMANDS = {
    "tercio": _tercio("--balance least", "--balance"),
    "tercio pull": _tercio("--balance pull", "--balance"),
    "tercio sticky-ip": _tercio("--balance sticky-ip", "--balance"),
    "tercio reuseport": _tercio("--balance reuseport", "--balance"),
    "tercio no rescue": _tercio("--rescue off", "--rescue"),
    "tercio uvicorn": _tercio("--server uvicorn", "--server"),
    "tercio granian": _tercio("--server granian", "--server"),
    "uvicorn": Command(
        "uvicorn app:app --host 127.0.0.1 --port {port} --workers {workers} --loop uvloop "
        "--http httptools --timeout-keep-alive 60 --no-access-log",
        "--ssl-certfile {dir}/cert.pem --ssl-keyfile {dir}/key.pem",
    ),
    "gunicorn uvicorn": Command(_GUNICORN + "uvicorn_worker.UvicornWorker", _PYTHON_TLS),
    "gunicorn asgi": Command(_GUNICORN + "asgi --asgi-loop uvloop", _PYTHON_TLS),
    "granian": Command(
        "granian app:app --interface asgi --host 127.0.0.1 --port {port} --workers {workers} "
        "--loop uvloop --log-level warning --respawn-failed-workers --backpressure 8000 "
        "--http1-header-read-timeout 60000",
        "--ssl-certificate {dir}/cert.pem --ssl-keyfile {dir}/key.pem",
    ),
    "hypercorn": Command(
        "hypercorn app:app -b 127.0.0.1:{port} -w {workers} -k uvloop --keep-alive 60 "
        "--log-level warning",
        _PYTHON_TLS,
    ),
    "node rr": Command(f"node {HERE}/cluster.js {{workers}} rr", reload=signal.SIGUSR2),
    "node none": Command(f"node {HERE}/cluster.js {{workers}} none", reload=signal.SIGUSR2),
    "pm2": Command(
        f"{_PM2}/pm2-runtime start {HERE}/pm2.config.js",
        reload=f"{_PM2}/pm2 reload bench",
    ),
}
PEERS = ("uvicorn", "gunicorn uvicorn", "granian", "hypercorn", "node rr", "node none", "pm2")
USUAL = ("tercio", "tercio pull", *PEERS)
PACKAGES = ("tercio", "uvicorn", "gunicorn", "uvicorn-worker", "granian", "hypercorn", "uvloop")


def missing(name: str) -> str | None:
    """Why a server cannot be run here, if it cannot."""
    command = COMMANDS[name]
    program = _program(command.line.split()[0])
    if program is None:
        return f"{Path(command.line.split()[0]).name} is not installed"
    if command.needs:
        known = subprocess.run([program, "run", "--help-all"], capture_output=True, text=True)
        for option in command.needs:
            if f"{option} " not in known.stdout:
                return f"this Tercio has no {option}"
        for option in ("least", "pull", "sticky-ip", "reuseport"):
            if f"--balance {option}" in command.line and option not in known.stdout:
                return f"this Tercio has no --balance {option}"
    return None


def _program(name: str) -> str | None:
    beside = Path(sys.executable).parent / name  # an absolute name stays what it is
    return str(beside) if beside.exists() else shutil.which(name)


@dataclass(frozen=True)
class Running:
    """A server whose workers are all up. ``target`` is the server itself, without a proxy."""

    pid: int
    target: Target
    directory: Path
    workers: int
    command: Command
    environment: dict[str, str]

    def pids(self) -> set[int]:
        """The workers that live and were ready."""
        return {pid for pid in _ready(self.directory) if _lives(pid)}

    def reload(self, release: str) -> "subprocess.Popen[bytes] | None":
        """Begin a reload to a release of that name; PM2 does it with a program of its own."""
        (self.directory / "release").write_text(release)
        if isinstance(self.command.reload, str):
            return subprocess.Popen(
                self.command.reload.split(),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        os.kill(self.pid, self.command.reload)
        return None


@contextmanager
def running(name: str, *, workers: int, tls: bool = False, lies: int = 0) -> Iterator[Running]:
    """A server, from the moment when all its workers are up until all its processes are gone."""
    command = COMMANDS[name]
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-connections-") as directory:
        line = f"{command.line} {command.tls}" if tls else command.line
        program, *rest = line.format(port=port, workers=workers, dir=directory).split()
        environment = {
            **os.environ,
            "TERCIO_ALLOW_ROOT": "1",
            "BENCH_DIR": directory,
            "BENCH_PORT": str(port),
            "BENCH_WORKERS": str(workers),
            "BENCH_TLS": "1" if tls else "0",
            "BENCH_LIES": str(lies),
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": directory,
            "PM2_HOME": f"{directory}/pm2",
            "PM2_DISABLE_VERSION_CHECK": "true",
        }
        (Path(directory) / "release").write_text("r0")
        if tls:
            make_certificate(directory)
        log = Path(directory) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [_program(program) or program, *rest],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_as_usual,
            )
        server = Running(
            process.pid, Target(port, tls), Path(directory), workers, command, environment
        )
        try:
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                pass
            kill_session(process.pid)
            process.wait()


def _as_usual() -> None:
    """The clients may run before others; the servers run as the command that started all."""
    os.setpriority(os.PRIO_PROCESS, 0, NICE)


def _ready(directory: Path) -> list[int]:
    return [int(path.name.removeprefix("ready-")) for path in directory.glob("ready-*")]


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"  # a killed worker stays until its parent has looked


def _wait_until_ready(server: Running, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + LONGEST
    while len(server.pids()) < server.workers:
        if process.poll() is not None or time.monotonic() > deadline:
            said = [line for line in log.read_text().splitlines() if "rror" in line]
            raise RuntimeError(f"it does not serve: {said[0] if said else 'it was not ready'}")
        time.sleep(0.05)
    time.sleep(0.5)  # ready is what the application says; the server listens a little later
