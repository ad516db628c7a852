"""Speak with systemd: say how the service is, and take the sockets it opened for us."""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

SEND_WAIT = 1.0  # seconds; the service manager's queue may be full, and we must not hang on it
FIRST_FD = 3  # SD_LISTEN_FDS_START

_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


class PassedFd(NamedTuple):
    """A descriptor from the service manager, with the name its unit gives it ("" if none)."""

    fd: int
    name: str


def notify(state: str | Mapping[str, object], environ: Mapping[str, str] | None = None) -> bool:
    """Send one notification; False when nobody asked for one or it could not be delivered.

    A mapping is safe to fill with foreign text: its values cannot add lines of their own.
    """
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    text = state if isinstance(state, str) else _assignments(state)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_WAIT)
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.sendall(text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        return False
    return True


def ready(pid: int, status: str, environ: Mapping[str, str] | None = None) -> bool:
    """Say that start-up, or a reload, is over; ``pid`` is the process to watch."""
    return notify({"READY": 1, "MAINPID": pid, "STATUS": status}, environ)


def reloading(environ: Mapping[str, str] | None = None) -> bool:
    """Say that a reload begins; `ready` must follow. ``Type=notify-reload`` needs the time."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return notify({"RELOADING": 1, "MONOTONIC_USEC": now}, environ)


def stopping(environ: Mapping[str, str] | None = None) -> bool:
    """Say that the service is about to end."""
    return notify({"STOPPING": 1}, environ)


def status(text: str, environ: Mapping[str, str] | None = None) -> bool:
    """Show one line in ``systemctl status``."""
    return notify({"STATUS": text}, environ)


def watchdog(environ: Mapping[str, str] | None = None) -> bool:
    """Tell the service manager's watchdog that we are alive."""
    return notify({"WATCHDOG": 1}, environ)


def watchdog_usec(environ: Mapping[str, str] | None = None) -> int | None:
    """Return within how many microseconds `watchdog` must be called, None if never."""
    variables = os.environ if environ is None else environ
    if variables.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return _number(variables.get("WATCHDOG_USEC", "")) or None


def listen_fds(environ: MutableMapping[str, str] | None = None) -> list[PassedFd]:
    """Take the descriptors passed to this process, and the variables that announced them.

    The variables go in any case: a child that found them would take descriptors that are not its.
    """
    variables = os.environ if environ is None else environ
    pid, _, count, names = (variables.pop(name, "") for name in _LISTEN_VARIABLES)
    if pid != str(os.getpid()):
        return []
    named = names.split(":") if names else []
    passed: list[PassedFd] = []
    for index in range(min(_number(count), os.sysconf("SC_OPEN_MAX"))):
        fd = FIRST_FD + index
        try:
            os.set_inheritable(fd, False)
        except OSError:
            break  # fewer were passed than announced
        passed.append(PassedFd(fd, named[index] if index < len(named) else ""))
    return passed


def _assignments(state: Mapping[str, object]) -> str:
    return "\n".join(f"{key}={' '.join(str(value).split())}" for key, value in state.items())


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
