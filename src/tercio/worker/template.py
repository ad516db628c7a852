"""Be a template: import the application once, and fork workers from it when the primary says so.

The descriptors of a worker never come here: it gets them from the primary itself, over a channel of
its own, so no port stays taken because a template lives. It has no threads after the import, and
nothing to finish: the primary ends it, or the end of the primary does.
"""

import faulthandler
import importlib
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from tercio import cluster, logs
from tercio.config import Config
from tercio.errors import AppNotFound, CannotFork, ConfigError, ExitCode, TercioError
from tercio.logs import LogStreams
from tercio.metrics import prometheus
from tercio.system import identity, lifeline, limits, passing, signals, tee
from tercio.system.channel import Channel
from tercio.worker import boot, fingerprint, forkable, importer, logconfig, record, sharing
from tercio.worker.clipping import ERROR_LIMIT, STACK_LIMIT, clip, clip_line
from tercio.worker.link import Link
from tercio.worker.loaded import Loaded

_FLUSH: Final = 1.0  # seconds for the news of a failure
_MESSAGE: Final = 4096  # bytes of an order

_SHARED_MODULES: Final = (
    "tercio.cluster.parts",
    "tercio.engines.embedded.bus",
    "tercio.engines.embedded.state",
    "tercio.handover.mover",
    "tercio.handover.rescue",
    "tercio.servers.tercio",
)
"""What most workers import after their start: once here is better than once each."""


def main(argv: list[str]) -> int:
    """Be the template that the record behind descriptor ``argv[2]`` describes.

    In a fork it returns when that worker has lived; else this process is ended from outside.
    """
    signals.unblock_all()
    values = record.read(int(argv[2]))
    link = Link(Channel(socket.socket(fileno=values["channel"])))
    try:
        record.check_version(values)
        config = Config.from_json(values["options"])
        loaded = _load(values, config, link)
    except BaseException as error:  # also SystemExit: an import may call sys.exit
        return _refuse(link, error)
    channel = _serve(values, link)
    return _be_worker(channel, loaded)


def _load(values: dict[str, Any], config: Config, link: Link) -> Loaded:
    """Import it all, and see to it that forks share as many pages as possible."""
    fds = (values["channel"], values["lifeline"])
    record.keep_from_programs(fds)
    watch = _Watch(values["lifeline"])
    lifeline.set_parent_death(values["primary_pid"])
    if values["oom_score_adj"] is not None:
        limits.set_oom_score_adj(os.getpid(), values["oom_score_adj"])
    if values["is_locked"]:
        identity.lock()
    faulthandler.enable()
    # Handlers, not SIG_IGN: programs that the application starts would inherit the deafness.
    signal.signal(signal.SIGTERM, _do_nothing)
    signal.signal(signal.SIGINT, _do_nothing)
    tee.copy_output(_forget)  # before the import: handlers that it makes print there
    streams = logs.configure(config, "template")
    if config.log_config:
        logconfig.apply(config.log_config)
        streams.restore()
    cluster.join_as_template(config)
    prometheus.adopt(lambda: cluster.metrics)
    _import_ours(config)
    pid = os.getpid()
    app = importer.load(config.app, config.app_dir, factory=config.factory)
    if os.getpid() != pid:
        os._exit(ExitCode.WORKER_BOOT_FAILED)  # the application forked, and its child came back
    streams.restore()  # an import that configures logging silences other loggers
    watch.stop()
    forkable.check()
    native = forkable.native_threads()
    notes = []
    if left := forkable.open_sockets({0, 1, 2, *fds, *link.fds()}):
        notes.append(
            f"the import left sockets open, which all workers share: {', '.join(left)}; what is "
            "connected should be so in the lifespan"
        )
    _settle(streams)
    clipped = [clip_line(note, ERROR_LIMIT) for note in notes]
    link.send({"type": "loaded", "threads": native, "notes": clipped})
    return Loaded(app, fingerprint.take(), streams)


def _import_ours(config: Config) -> None:
    for name in _SHARED_MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    if config.loop != "asyncio":
        with suppress(ImportError):
            importlib.import_module("uvloop")


def _settle(streams: LogStreams) -> None:
    """Nothing of what exists now is looked at again by a collector, which would write to it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or None: what it holds must not come twice
            stream.flush()
    streams.flush(_FLUSH)
    sharing.settle()


def _serve(values: dict[str, Any], link: Link) -> int:
    """Fork when told to. Returns in a fork only, with the descriptor of its channel."""
    control = socket.socket(fileno=os.dup(values["channel"]))
    control.setblocking(True)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(values["lifeline"], select.POLLIN)
    while True:
        if any(fd == values["lifeline"] for fd, _ in poll.poll()):
            lifeline.end_own_group()
        order, fds = passing.receive(control, _MESSAGE)
        if not order:
            lifeline.end_own_group()
        (channel,) = fds
        worker = order.decode().strip()
        if _fork(worker, channel, link):
            continue
        control.close()
        for fd in (values["channel"], values["lifeline"], *link.fds()):
            with suppress(OSError):
                os.close(fd)
        return channel


def _fork(worker: str, channel: int, link: Link) -> bool:
    """Fork twice, so that the worker becomes a child of the primary. False in the worker."""
    if names := forkable.python_threads():
        text = f"threads were started in the template: {', '.join(names)}; it is not forked"
        link.send({"type": "refused", "worker": worker, "error": text})
        os.close(channel)
        return True
    read_end, write_end = os.pipe()
    try:
        between = os.fork()
    except OSError as error:
        os.write(write_end, f"!{error.strerror}".encode())
        between = None
    if between == 0:
        os.close(read_end)
        return _fork_again(write_end)
    os.close(write_end)
    os.close(channel)
    answer = os.read(read_end, 256).decode()
    os.close(read_end)
    if between is not None:
        # Once this returns the worker has lost its parent, and the primary has got it.
        os.waitpid(between, 0)
    if answer.isdecimal():
        link.send({"type": "forked", "worker": worker, "pid": int(answer)})
    else:
        error_text = answer.removeprefix("!") or "the process between ended"
        link.send({"type": "refused", "worker": worker, "error": error_text})
    return True


def _fork_again(write_end: int) -> bool:
    """In the process between the two. False in the worker; the other one ends here."""
    try:
        pid = os.fork()
    except OSError as error:
        os.write(write_end, f"!{error.strerror}".encode())
        os._exit(1)
    if pid == 0:
        os.close(write_end)
        return False
    # Before anybody hears of it: who ends the worker ends its group.
    os.setpgid(pid, pid)
    os.write(write_end, str(pid).encode())
    os._exit(0)


def _be_worker(channel: int, loaded: Loaded) -> int:
    """In a fork: take from the primary what a started worker inherits, and live."""
    sock = socket.socket(fileno=channel)
    sock.setblocking(True)
    received: list[int] = []
    while True:
        # Whoever is the parent by then: the end of the primary ends this, too.
        data, fds = passing.receive(sock, 1)
        received += fds
        if not data:
            os._exit(ExitCode.WORKER_BOOT_FAILED)
        if data == b"B":
            break
    values = record.read(received.pop())
    own = dict(zip(values["passed"], received, strict=True))
    values = {**record.renumbered(values, own), "channel": channel}
    forkable.renew_chance()
    return boot.live(values, Link(Channel(sock)), loaded)


class _Watch:
    """A thread that ends the template with its primary, during the import."""

    def __init__(self, lifeline_end: int) -> None:
        self._lifeline = lifeline_end
        self._read_end, self._write_end = os.pipe()
        self._thread = threading.Thread(target=self._run, name="tercio-lifeline", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """From here on the main thread looks itself."""
        os.write(self._write_end, b".")
        self._thread.join()
        os.close(self._read_end)
        os.close(self._write_end)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        poll.register(self._read_end, select.POLLIN)
        if all(fd != self._read_end for fd, _ in poll.poll()):
            lifeline.end_own_group()


def _refuse(link: Link, error: BaseException) -> int:
    """Say why, in the words of a worker that fails in the same way."""
    stage, text, trace = "import", str(error), ""
    match error:
        case ConfigError():
            stage = "options"
        case CannotFork():
            stage = "preload"
        case AppNotFound():
            pass
        case TercioError():
            stage = "version"
        case _:
            text, trace = importer.in_a_line(error), importer.explain(error)
    link.send(
        {
            "type": "failed",
            "stage": stage,
            "error": clip_line(text, ERROR_LIMIT),
            "traceback": clip(trace, STACK_LIMIT),
        }
    )
    link.flush(_FLUSH)
    os._exit(ExitCode.WORKER_BOOT_FAILED)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _forget(data: bytes) -> None:
    """What the template prints is in nobody's tail; its forks have their own."""
