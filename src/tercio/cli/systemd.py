"""`tercio systemd`: print the unit with which systemd runs this application.

The time limits in it follow from the options, so that systemd never ends what Tercio still waits
for. It looks at this machine's systemd, and changes nothing unless told to with --write.
"""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from tercio import settings
from tercio.cli import launch, systemd_places
from tercio.cli.flags import OptionsCommand, raw_options, run_parameters
from tercio.cli.text import say
from tercio.config import OPTIONS, Config
from tercio.core.policy import Policy
from tercio.errors import ConfigError, CouldNotStart
from tercio.servers import choice

EXAMPLES = (
    ("tercio systemd shop.main:app -w 4 --user shop", "the unit, to look at"),
    ("tercio systemd shop.main:app --socket -b 0.0.0.0:80", "with a socket that systemd opens"),
    ("sudo tercio systemd shop.main:app --user shop --write /etc/systemd/system", "write it"),
)

NOTIFY_RELOAD_SINCE: Final = 253
"""The version of systemd that waits for the end of a reload which it asked for by a signal."""

_MARGIN: Final = 5  # seconds that systemd waits beyond our own limits
_WATCHDOG: Final = 30  # seconds; the primary beats twice as often
_PRIVILEGED: Final = 1024

_HARDENING: Final = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0027",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What goes into the files. ``systemd`` is the version of systemd they are for."""

    name: str
    config: Config
    given: Mapping[str, object]
    cwd: str
    program: tuple[str, ...]
    systemd: int
    has_socket: bool = False

    def service(self) -> str:
        """The text of ``NAME.service``."""
        return "\n".join(self._service_lines()) + "\n"

    def socket(self) -> str:
        """The text of ``NAME.socket``."""
        return "\n".join(self._socket_lines()) + "\n"

    def _service_lines(self) -> Iterator[str]:
        config = self.config
        yield f"# {self.name}.service, made by `tercio systemd`"
        yield "[Unit]"
        yield f"Description={_percent(config.app)}, served by Tercio"
        yield "After=network-online.target"
        yield "Wants=network-online.target"
        if self.has_socket:
            yield f"Requires={self.name}.socket"
        yield ""
        yield "[Service]"
        if self.systemd >= NOTIFY_RELOAD_SINCE:
            yield "# `systemctl reload` waits until the new release serves, or was rejected."
            yield "Type=notify-reload"
        else:
            yield f"# Type=notify-reload needs systemd {NOTIFY_RELOAD_SINCE}."
            yield "Type=notify"
            yield f"ExecReload={_command((*self.program, 'reload', '--name', self.name))}"
        yield f"WorkingDirectory={_percent(self.cwd)}"
        # With its link, which a deployment moves.
        yield f"Environment={_quoted('PWD=' + self.cwd)}"
        yield f"ExecStart={_command((*self.program, 'run', *self._arguments()))}"
        yield from self._identity()
        yield from systemd_places.lines(self.name, self.config, self.cwd, binds=not self.has_socket)
        yield f"Environment={_quoted(f'TERCIO_RUNTIME_DIR=/run/tercio-{self.name}')}"
        yield ""
        yield "# SIGTERM goes to the primary alone, which ends its workers within its own limits."
        yield "KillMode=mixed"
        yield f"TimeoutStartSec={self._start_limit()}"
        yield f"TimeoutStopSec={self._stop_limit()}"
        yield f"WatchdogSec={_WATCHDOG}"
        yield "Restart=on-failure"
        yield "RestartSec=1"
        yield "# 2: the configuration is wrong, and will be at the next start."
        yield "RestartPreventExitStatus=2"
        yield "OOMPolicy=continue"
        yield ""
        yield "# What the application does not need. `systemd-analyze security` looks at it."
        yield from _HARDENING
        yield from self._places()
        yield from self._capabilities()
        yield ""
        yield "[Install]"
        yield "WantedBy=multi-user.target"

    def _arguments(self) -> Iterator[str]:
        """The flags that were given, in our spelling, and what the unit needs."""
        yield self.config.app
        if path := self.given.get("config"):
            yield from ("--config", str(path))
        yield from ("--name", self.name)
        replaced = {"app", "name", "user", "group", "runtime_dir"}
        if self.has_socket:
            replaced |= {"host", "port", "bind", "uds", "fd", "uds_permissions", "backlog"}
            yield from ("--bind", "systemd")
        for field, option in OPTIONS.items():
            value = self.given.get(field)
            if value is None or field in replaced:
                continue
            if option.secret:
                raise ConfigError(
                    f"{option.flag}: a unit can be read by everybody; put {option.env} into a file "
                    "of mode 0600 and name it with EnvironmentFile="
                )
            if option.kind.is_switch:
                is_on = str(value).lower() in ("true", "1", "on", "yes")
                yield option.flag if is_on else f"--no-{option.flag[2:]}"
                continue
            values = value if isinstance(value, tuple | list) else (value,)
            for each in values:
                yield from (option.flag, str(each))

    def _identity(self) -> Iterator[str]:
        if self.config.user:
            yield f"User={_percent(self.config.user)}"
            if self.config.group:
                yield f"Group={_percent(self.config.group)}"
            return
        yield "# A user that exists while the service runs; --user names one of your own."
        yield "DynamicUser=yes"

    def _places(self) -> Iterator[str]:
        homes = ("/home/", "/root/", "/run/user/")
        places = (self.cwd, *self.program, sys.prefix, sys.base_prefix)
        is_home = any(place.startswith(homes) for place in places)
        if is_home:
            yield "# The application or its interpreter lies in a home."
        yield f"ProtectHome={'read-only' if is_home else 'yes'}"

    def _capabilities(self) -> Iterator[str]:
        config = self.config
        addresses = (config.health, config.admin, *(() if self.has_socket else config.binds))
        if any(map(_is_privileged, addresses)):
            yield "AmbientCapabilities=CAP_NET_BIND_SERVICE"
            yield "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"
        else:
            yield "CapabilityBoundingSet="

    def _start_limit(self) -> int:
        """Also that of a reload."""
        config = self.config
        workers = config.workers if isinstance(config.workers, int) else os.cpu_count() or 1
        names = ("start_timeout", "ready_timeout", "kill_grace", "drain_timeout", "soak", "trial")
        policy = Policy(
            surge=config.surge,
            reload_timeout=config.reload_timeout,
            **{name: getattr(config, name) for name in names},
        )
        return math.ceil(policy.reload_limit(workers)) + _MARGIN

    def _stop_limit(self) -> int:
        config = self.config
        return math.ceil(config.stop_delay + config.stop_timeout + config.kill_grace) + _MARGIN

    def _socket_lines(self) -> Iterator[str]:
        yield f"# {self.name}.socket, made by `tercio systemd`"
        yield "[Unit]"
        yield f"Description=Addresses of {_percent(self.config.app)}"
        yield ""
        yield "[Socket]"
        for bind in self.config.binds:
            if bind.startswith(("fd:", "systemd")):
                raise ConfigError(f"--socket: systemd cannot open {bind!r}; name an address")
            is_path = bind.startswith("unix:")
            yield f"ListenStream={_percent(bind.removeprefix('unix:'))}"
            if is_path:
                yield f"SocketMode={self.config.uds_permissions:04o}"
        yield f"Backlog={self.config.backlog}"
        yield "NoDelay=yes"
        yield ""
        yield "[Install]"
        yield "WantedBy=sockets.target"


def systemd_version() -> int:
    """This machine's; 0 if it has none, or does not say."""
    try:
        done = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _is_privileged(bind: str) -> bool:
    port = bind.rpartition(":")[2]
    return not bind.startswith(("unix:", "fd:")) and port.isdecimal() and int(port) < _PRIVILEGED


def _percent(text: str) -> str:
    """Plain text in a unit: percent signs are specifiers there."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word, however it is made."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    text = _percent(escaped)
    return f'"{text}"' if re.search(r"[\s\"'\\;#]", word) or not word else text


def _command(words: tuple[str, ...]) -> str:
    """A command line: dollars are variables there."""
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _program() -> tuple[str, ...]:
    """How `tercio` is called here, wherever systemd's PATH leads."""
    beside = Path(sys.executable).parent / "tercio"
    if beside.exists():
        return (str(beside),)
    found = shutil.which("tercio")
    return (found,) if found else (sys.executable, "-m", "tercio")


def show(socket: bool, write: str | None, systemd: int | None, **values: Any) -> None:
    """Print the systemd unit that runs APP with these options.

    The working directory is the one you are in. Time limits in the unit follow from the options;
    so make the unit again when you change them.
    """
    given = raw_options(values)
    cwd = launch.working_directory(os.environ)
    config = settings.load(given, os.environ, cwd).config
    choice.check(config)
    name = config.name or re.sub(r"[^A-Za-z0-9._-]+", "-", config.app.partition(":")[0]).strip("-.")
    version = systemd_version() if systemd is None else systemd
    unit = Unit(name or "app", config, given, cwd, _program(), version, has_socket=socket)
    files = {f"{unit.name}.service": unit.service()}
    if socket:
        files[f"{unit.name}.socket"] = unit.socket()
    if write is None:
        click.echo("\n".join(files.values()), nl=False)
        return
    for file, text in files.items():
        path = os.path.join(write, file)
        try:
            Path(path).write_text(text)
        except OSError as error:
            raise CouldNotStart(f"cannot write {path}: {error.strerror}") from error
        say(f"wrote {path}")
    enabled = f"{unit.name}.socket" if socket else unit.name
    say(f"next: systemctl daemon-reload && systemctl enable --now {enabled}")


command = OptionsCommand(
    "systemd",
    callback=show,
    help=show.__doc__,
    short_help="Print the unit with which systemd runs an application.",
    params=[
        *run_parameters(),
        click.Option(["--socket"], is_flag=True, help="Let systemd open the addresses, too."),
        click.Option(["--write"], metavar="DIR", help="Write the files here."),
        click.Option(
            ["--systemd"],
            type=click.IntRange(1),
            metavar="VERSION",
            help="For this version of systemd, not for this machine's.",
        ),
    ],
    examples=EXAMPLES,
)
