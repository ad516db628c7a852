"""Prepare a fresh process to be a worker, then live.

The order matters: who watches over this process comes first, then its limits, then what can tell
about its death, and the application last, because from then on anything may happen.
"""

import faulthandler
import os
import signal
import socket
import traceback
from collections.abc import Mapping
from functools import partial
from types import FrameType
from typing import Any

from tercio import cluster, logs, redaction
from tercio.cluster.post import Post
from tercio.core.model import WorkerId
from tercio.dataplane.scoreboard import Field
from tercio.dataplane.shared import Shared
from tercio.errors import (
    ConfigError,
    CouldNotStart,
    ExitCode,
    ProtocolError,
    TercioError,
    VersionMismatch,
)
from tercio.handover.exchange import Exchange
from tercio.handover.sticky import Sticky
from tercio.http.proxies import Proxies
from tercio.http.sessionkeys import SessionKeys
from tercio.logs import LogStreams
from tercio.metrics import prometheus
from tercio.system import identity, lifeline, limits, signals, tee
from tercio.system.channel import Channel
from tercio.system.stacksignal import STACK_SIGNAL
from tercio.worker import endings, logconfig, record, rlimits, siblings, threads
from tercio.worker.clipping import ERROR_LIMIT, STACK_LIMIT, clip, clip_line
from tercio.worker.counts import Counts
from tercio.worker.link import Link
from tercio.worker.loaded import Loaded
from tercio.worker.record import BootRecord
from tercio.worker.turns import SharedTurns
from tercio.worker.watchdog import Watchdog
from tercio.worker.worker import Worker

_FLUSH = 1.0  # seconds for the news of a failure


def main(argv: list[str]) -> int:
    """Be the worker that the record behind descriptor ``argv[1]`` describes."""
    signals.unblock_all()
    values = record.read(int(argv[1]))
    return live(values, Link(Channel(socket.socket(fileno=values["channel"]))))


def live(values: Mapping[str, Any], link: Link, loaded: Loaded | None = None) -> int:
    """Be the worker that ``values`` describe, with an application that a template has loaded."""
    try:
        record.check_version(values)
        boot = BootRecord.parse(values)
        with threads.explained():
            shared, streams = _prepare(boot, link, loaded)
            row = shared.scoreboard.row(boot.seat)
            watchdog = Watchdog(
                row,
                boot.config.blocked_after,
                link.send,
                lambda: streams.dropped,
                is_development=boot.is_development,
            )
            watchdog.start()
    except VersionMismatch as error:
        return _refuse(link, "version", error)
    except CouldNotStart as error:
        return _refuse(link, "limits", error)
    except (ConfigError, ProtocolError) as error:
        return _refuse(link, "options", error)
    turns = SharedTurns(shared.scoreboard, boot.seat, boot.shared_listeners)
    exchange = None
    if shared.tickets is not None and shared.inboxes is not None:
        exchange = Exchange(
            boot.seat, boot.incarnation, shared.scoreboard, shared.tickets, shared.inboxes
        )
    sticky = _sticky(boot, shared)
    board = shared.scoreboard
    return Worker(
        boot, link, Counts(row), watchdog, streams, board, turns, exchange, sticky, loaded
    ).run()


def _prepare(boot: BootRecord, link: Link, loaded: Loaded | None) -> tuple[Shared, LogStreams]:
    record.keep_from_programs(boot.fds)
    lifeline.watch(boot.lifeline, partial(siblings.end_all, boot.shared["scoreboard"]))
    lifeline.set_parent_death(boot.primary_pid)
    if boot.oom_score_adj is not None:
        limits.set_oom_score_adj(os.getpid(), boot.oom_score_adj)
    rlimits.apply(boot.rlimits)
    if boot.is_locked:
        identity.lock()
    # Both write from C, so they work while nothing of Python does.
    faulthandler.enable(file=boot.stack)
    faulthandler.register(STACK_SIGNAL, file=boot.stack, all_threads=True)
    # TERM from outside asks for another worker. Ctrl-C in a terminal is the primary's business.
    # A handler, not SIG_IGN: programs that the application starts would inherit the deafness.
    signal.signal(signal.SIGTERM, link.on_signal)
    signal.signal(signal.SIGINT, _do_nothing)
    config = boot.config
    redaction.learn(config.secrets)
    redaction.learn_environ(os.environ)
    if config.umask is not None:
        os.umask(config.umask)
    shared = Shared.attach(boot.shared, boot.seat)
    row = shared.scoreboard.row(boot.seat)
    keep = None
    if (tail := shared.tail) is not None:
        tail.begin(boot.slot, boot.incarnation)
        keep = tail.append
        tee.copy_output(keep)
    name = f"{boot.slot}.{boot.incarnation}"
    fields = {"slot": boot.slot, "generation": boot.generation, "pid": os.getpid()}
    if loaded is None:
        streams = logs.configure(config, name, fields=fields, keep=keep)
        if config.log_config:
            logconfig.apply(config.log_config)
            streams.restore()
    else:
        # Not configured anew: what the application has configured at its import wins.
        streams = loaded.streams
        streams.rename(name, fields, keep)
    streams.last.append(partial(row.__setitem__, Field.LOG_DROPPED))
    cluster.join(_membership(boot, shared, link))
    row[Field.PID] = os.getpid()
    row[Field.INCARNATION] = boot.incarnation
    row[Field.SLOT] = boot.slot + 1  # 0 is a seat of no worker
    row[Field.GENERATION] = boot.generation
    if loaded is None:
        prometheus.adopt(lambda: cluster.metrics, partial(link.note, "info"))
    return shared, streams


def _sticky(boot: BootRecord, shared: Shared) -> Sticky | None:
    config = boot.config
    if not config.sticky or shared.owners is None or shared.tickets is None:
        return None
    return Sticky(
        WorkerId(boot.slot, boot.incarnation),
        SessionKeys(config.sticky),
        shared.owners,
        shared.scoreboard,
        shared.tickets,
        boot.host,
        Proxies(config.forwarded_allow_ips) if config.proxy_headers else None,
    )


def _membership(boot: BootRecord, shared: Shared, link: Link) -> cluster.Membership:
    post = Post(link.send if boot.has_launcher else None)
    return cluster.Membership(
        "worker",
        cluster.Worker(boot.slot, boot.incarnation, boot.generation, boot.host, post),
        boot.name,
        boot.directory,
        boot.config,
        cluster.Seat(boot.seat, shared, boot.state, boot.host),
        tell=link.send,
    )


def _refuse(link: Link, stage: str, error: TercioError) -> int:
    text = "".join(traceback.format_exception(error)) if stage == "options" else ""
    link.send(
        {
            "type": "failed",
            "stage": stage,
            "error": clip_line(str(error), ERROR_LIMIT),
            "traceback": clip(text, STACK_LIMIT),
        }
    )
    link.flush(_FLUSH)
    return endings.leave(ExitCode.WORKER_BOOT_FAILED)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass
