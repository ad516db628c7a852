"""The primary as a child process: start it, hear that it answers, and see it end.

A socket pair ties the two together. The primary ends at once when our end of it closes, by our
exit or by SIGKILL; and when its own end closes it is gone. It leads a session of its own: Ctrl-C
in a terminal reaches this program alone, which decides what becomes of its cluster.
"""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tercio import errors
from tercio.cli import launch
from tercio.errors import ConfigError, CouldNotStart, TercioError

_MOST_HELLO: Final = 1 << 20  # bytes
_AT_ONCE: Final = 2.0  # seconds for a primary to end at once, its workers killed; then it is killed
_NOT_OURS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What a service manager said to this program is not meant for a child of it."""


class Child:
    """A primary, from its start until it was reaped."""

    def __init__(
        self,
        record: Mapping[str, object],
        cwd: str,
        environ: Mapping[str, str],
        output: Path | None,
    ) -> None:
        """Start it. Raises `CouldNotStart`, and `ConfigError` if there can be no ``output``."""
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._received = b""
        self._ended: asyncio.Task[int] | None = None
        try:
            with theirs:
                self.process: subprocess.Popen[bytes] = _start(
                    record, cwd, environ, output, theirs.fileno()
                )
        except OSError as error:
            self._socket.close()
            raise CouldNotStart(f"no process can be started: {error.strerror}") from error
        except BaseException:
            self._socket.close()
            raise

    async def directory(self) -> Path:
        """Where its control socket is, once it answers there.

        Raises what it could not start for: `ConfigError`, `CouldNotStart` or a kind of it.
        """
        loop = asyncio.get_running_loop()
        while b"\n" not in self._received and len(self._received) < _MOST_HELLO:
            try:
                chunk = await loop.sock_recv(self._socket, 1 << 16)
            except ConnectionError:
                chunk = b""
            if not chunk:
                code = await self.ended()
                raise CouldNotStart(f"the primary ended with {code} before it began")
            self._received += chunk
        hello = json.loads(self._received.partition(b"\n")[0])
        if "error" in hello:
            await self.ended()
            raise _error_of(hello)
        return Path(hello["directory"])

    async def ended(self) -> int:
        """Wait for its end and return its exit code, negative for a signal's number.

        It may be cancelled, and waited for by several.
        """
        if self._ended is None:
            self._ended = asyncio.create_task(self._end(), name="tercio-primary-end")
        return await asyncio.shield(self._ended)

    async def end_at_once(self) -> None:
        """Cut everything and wait until it is gone. Not to be interrupted: it takes 2 s at most."""
        ending = asyncio.create_task(self._end_at_once(), name="tercio-primary-kill")
        is_cancelled = False
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                is_cancelled = True
        ending.result()
        if is_cancelled:
            raise asyncio.CancelledError

    async def _end_at_once(self) -> None:
        if self.process.returncode is None:
            with suppress(OSError):  # its end is closed: it is ending
                self._socket.shutdown(socket.SHUT_WR)
            try:
                async with asyncio.timeout(_AT_ONCE):
                    await self.ended()
            except TimeoutError:
                self.process.kill()  # its workers end with it, by themselves
                await self.ended()
        self.close()

    def close(self) -> None:
        """Give up the connection, after its end."""
        if self._ended is not None and not self._ended.done():
            self._ended.cancel()
        self._socket.close()

    async def _end(self) -> int:
        loop = asyncio.get_running_loop()
        try:
            while await loop.sock_recv(self._socket, 1 << 16):
                pass
        except ConnectionError:
            pass
        # No other process has its end of the socket, so it is exiting: this takes no time.
        return self.process.wait()


def _start(
    record: Mapping[str, object],
    cwd: str,
    environ: Mapping[str, str],
    output: Path | None,
    launcher: int,
) -> "subprocess.Popen[bytes]":
    content = json.dumps({**record, "launcher": launcher}).encode()
    fd = launch.inherited_file(content)
    try:
        os.set_inheritable(fd, False)  # another thread may start something now
        stdout = None if output is None else _opened(output)
        try:
            return subprocess.Popen(
                launch.primary_command(fd),
                cwd=cwd,
                env={name: value for name, value in environ.items() if name not in _NOT_OURS},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=None if stdout is None else subprocess.STDOUT,
                pass_fds=(fd, launcher),
                start_new_session=True,
            )
        finally:
            if stdout is not None:
                os.close(stdout)
    finally:
        os.close(fd)


def _opened(output: Path) -> int:
    try:
        return os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"output {str(output)!r}: it cannot be opened; {reason}") from error


def _error_of(hello: Mapping[str, object]) -> TercioError:
    """The error that it could not start for, of its own class."""
    kind = getattr(errors, str(hello.get("kind")), None)
    if not isinstance(kind, type) or not issubclass(kind, TercioError):
        kind = CouldNotStart
    return kind(str(hello.get("error")))
