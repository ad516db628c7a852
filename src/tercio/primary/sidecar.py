"""Keep the process alive that answers probes and operators: started, restarted, stopped last.

It judges nothing. The cluster serves on without it, and it is started again, later each time.
"""

import asyncio
import dataclasses
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import tercio
from tercio import __version__
from tercio.core import events
from tercio.dataplane.scoreboard import LAYOUT
from tercio.errors import ConfigError, SpawnFailed
from tercio.primary.journal import Journal
from tercio.primary.setup import Setup
from tercio.primary.worker_process import record_file
from tercio.settings.tokens import read_tokens
from tercio.system.process import ChildProcess, spawn
from tercio.system.rundir import ADMIN_TOKEN

_FIRST_WAIT: Final = 0.25  # seconds to the first restart
_LONGEST_WAIT: Final = 30.0
_STABLE: Final = 10.0  # seconds it must live for the next wait to be short again

# As the primary it is isolated from monitoring agents and the working directory; where only
# PYTHONPATH led to this package, that leads to what it needs, too, after the site's modules.
_CODE: Final = (
    "import os, sys; sys.path += [{root!r}, *filter(None, os.environ.get('PYTHONPATH', '')"
    ".split(os.pathsep))]; from tercio.sidecar.boot import main; sys.exit(main(sys.argv))"
)


class Sidecar:
    """The sidecar of one cluster; does nothing where no option asks for one."""

    def __init__(self, setup: Setup, loop: asyncio.AbstractEventLoop, journal: Journal) -> None:
        self._setup = setup
        self._loop = loop
        self._journal = journal
        self._process: ChildProcess | None = None
        self._pipe: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wait = _FIRST_WAIT
        self._own_token = os.path.join(setup.claim.path, ADMIN_TOKEN)
        file = setup.settings.config.admin_token_file
        self._token_file = os.path.join(setup.launch.cwd, file) if file else self._own_token
        self._adopt: Callable[[socket.socket], None] = socket.socket.close

    @property
    def pids(self) -> set[int]:
        """Its process, which nobody else may reap."""
        return {self._process.pid} if self._process is not None else set()

    def start(self, adopt: Callable[[socket.socket], None]) -> None:
        """Start it if there is an address for it.

        ``adopt`` gets each connection that it makes to us.
        """
        self._adopt = adopt
        doors = self._setup.doors
        if not doors.descriptors:
            return
        config = self._setup.settings.config
        if doors.admin and not config.admin_token_file:
            self._write_token()
        self._start()
        self._journal.publish(
            events.SidecarStarted(
                tuple(listener.url for listener in doors.health),
                tuple(listener.url for listener in doors.admin),
            )
        )

    def close(self) -> None:
        """End it. Its pipe says so; the kill makes sure."""
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None:
            if self._process.pidfd is not None:
                self._loop.remove_reader(self._process.fileno())
            self._process.end()
            self._process = None
        self._hang_up()
        Path(self._own_token).unlink(missing_ok=True)

    def tokens(self) -> Mapping[str, object]:
        """What it asks for, as its user may not read the file."""
        try:
            tokens = read_tokens(self._token_file)
        except ConfigError as error:
            return {"tokens": [], "fault": str(error)}
        return {"tokens": [(token.scope, token.secret.decode()) for token in tokens]}

    def look_for_ended(self) -> None:
        """Reap it where the kernel has no pidfd to wait on."""
        process = self._process
        if process is not None and process.pidfd is None and process.has_ended():
            self._ended()

    def _write_token(self) -> None:
        Path(self._own_token).unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(self._own_token, flags, 0o600), "w") as file:
            file.write(f"admin {secrets.token_urlsafe(32)}\n")

    def _start(self) -> None:
        self._timer = None
        try:
            self._process = self._spawn()
        except (SpawnFailed, OSError) as error:
            self._again(str(error))
            return
        if self._process.pidfd is not None:
            self._loop.add_reader(self._process.fileno(), self._ended)

    def _spawn(self) -> ChildProcess:
        setup = self._setup
        config, shared = setup.settings.config, setup.shared.to_record()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        record = {
            "version": __version__,
            "layout": LAYOUT,
            "primary_pid": os.getpid(),
            "lifeline": setup.lifeline_read,
            "pipe": theirs.fileno(),
            "shared": shared,
            "options": config.to_json(redacted=True),
            "health": [fd for listener in setup.doors.health for fd in listener.filenos()],
            "admin": [fd for listener in setup.doors.admin for fd in listener.filenos()],
            "user": dataclasses.asdict(setup.identity) if setup.identity is not None else None,
        }
        descriptors = [
            *setup.doors.descriptors,
            setup.lifeline_read,
            theirs.fileno(),
            *shared.values(),
        ]
        code = _CODE.format(root=str(Path(tercio.__file__).parent.parent))
        boot = record_file(record)
        try:
            process = spawn(
                [sys.executable, "-EsP", "-c", code, str(boot)],
                env=os.environ,
                cwd=setup.launch.cwd,
                pass_fds=[*descriptors, boot],
            )
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(boot)
            theirs.close()
        self._hang_up()
        self._pipe = ours
        self._loop.add_reader(ours, self._connected)
        return process

    def _hang_up(self) -> None:
        if self._pipe is not None:
            self._loop.remove_reader(self._pipe)
            self._pipe.close()
            self._pipe = None

    def _connected(self) -> None:
        """Take one end of a connection that it has made."""
        assert self._pipe is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._pipe, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            with suppress(OSError):  # no socket
                connection = socket.socket(fileno=descriptor)
                if (connection.family, connection.type) == (socket.AF_UNIX, socket.SOCK_STREAM):
                    self._adopt(connection)
                else:
                    connection.close()
        if not data:
            self._hang_up()  # it has ended, or soon will have

    def _ended(self) -> None:
        process = self._process
        assert process is not None
        if process.pidfd is not None:
            self._loop.remove_reader(process.fileno())
        process.kill_group()
        status = process.reap()
        if self._loop.time() - process.started >= _STABLE:
            self._wait = _FIRST_WAIT
        process.close()
        self._process = None
        self._again(str(status))

    def _again(self, why: str) -> None:
        self._journal.publish(events.SidecarDied(why, self._wait))
        self._timer = self._loop.call_later(self._wait, self._start)
        self._wait = min(self._wait * 2, _LONGEST_WAIT)
