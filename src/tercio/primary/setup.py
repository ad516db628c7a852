"""Open what the cluster needs before the first worker: its name, its listeners, its memory.

All of it is closed again when a part cannot be had.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tercio import redaction
from tercio.config import Config
from tercio.core.model import SEATS_PER_SLOT
from tercio.dataplane.shared import Shared
from tercio.errors import ConfigError, CouldNotStart
from tercio.primary.balancing import Balancing, balancing_of
from tercio.primary.doors import Doors, open_doors
from tercio.primary.inboxes import seats_with_inboxes
from tercio.primary.releases import Releases
from tercio.primary.sizing import Size, size_of
from tercio.primary.statedir import StateDir, open_statedir
from tercio.settings import Settings, load
from tercio.system import cgroup, rundir
from tercio.system.identity import Identity, refuse_root, resolve
from tercio.system.pidfile import PidFile
from tercio.system.sockets import Listener, open_listeners, parse_bind

_NAME_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Launch:
    """What the command line hands over; kept, because a reload reads the options again."""

    cli: Mapping[str, object]
    cwd: str
    python: tuple[str, ...]
    files: tuple[str, ...] = ()
    """What was read at the start: a reload without it is refused."""
    has_launcher: bool = False
    """A program launched this cluster; workers may send it messages."""
    is_development: bool = False
    """`tercio dev`: workers have the terminal, and a fault waits for a change of the files."""

    def read_settings(self) -> Settings:
        """Read flags, environment and files as they are now. Raises `ConfigError`."""
        settings = load(self.cli, os.environ, self.cwd, expected_files=self.files)
        redaction.learn(settings.config.secrets)
        redaction.learn_environ({**settings.environ_additions, **os.environ})
        return settings


@dataclass(frozen=True, slots=True)
class Setup:
    """What is open for the cluster's whole life."""

    launch: Launch
    settings: Settings
    size: Size
    claim: rundir.Claim
    listeners: tuple[Listener, ...]
    balancing: Balancing
    doors: Doors
    shared: Shared
    lifeline_read: int
    lifeline_write: int
    identity: Identity | None
    host: bytes
    """What all processes of this cluster on this host have, and no others."""
    state: StateDir | None
    """None: a server keeps the state."""

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.claim.name

    @property
    def directory(self) -> str:
        """Where workers run: as named, not as resolved, so a link that moves is followed."""
        return os.path.join(self.launch.cwd, self.settings.config.chdir)

    def state_record(self) -> dict[str, object]:
        """Where workers find the shared state."""
        return {} if self.state is None else self.state.to_record()

    def options_record(self, settings: Settings) -> dict[str, object]:
        """The options as processes of the cluster see them: with the number that "auto" means."""
        return {**settings.config.to_json(), "workers": self.size.workers}

    @property
    def attached_seats(self) -> range:
        """The seats of processes that are no workers; they come after the workers'."""
        first = self.size.most * SEATS_PER_SLOT
        return range(first, first + self.settings.config.attached)


def open_setup(launch: Launch, settings: Settings, stack: ExitStack) -> Setup:
    """Open everything; ``stack`` closes it. Raises `CouldNotStart` or `ConfigError`."""
    config = settings.config
    if config.preload and sys.platform != "linux":
        raise ConfigError("--preload: workers can only be forked on Linux")
    Releases(os.path.join(launch.cwd, config.chdir)).check(config.release_dir)
    identity = resolve(config.user, config.group)
    if not (config.allow_root or launch.is_development):
        refuse_root(identity)
    size = size_of(config, cgroup.cpu_count(), cgroup.limits())
    # Listeners first: "the port is in use" is the answer that people need most.
    binds = [parse_bind(text) for text in config.binds]
    balancing = balancing_of(config, size, sum(bind.is_tcp for bind in binds))
    listeners = open_listeners(
        binds,
        backlog=config.backlog,
        uds_permissions=config.uds_permissions,
        scheme=config.scheme,
        environ=os.environ,
        slots=balancing.slots,
    )
    for listener in listeners:
        stack.callback(listener.close)
    doors = open_doors(config, stack)
    claim = _claim(config)
    stack.callback(claim.release)
    workers = size.most * SEATS_PER_SLOT
    movers = seats_with_inboxes(config, workers)
    shared = Shared.create(workers + config.attached, config.ring_size, movers)
    stack.callback(shared.close)
    state = None
    if not config.redis:
        state = open_statedir(config, os.path.dirname(claim.path), identity)
        stack.callback(state.release)
    if config.pid_file:
        pid_file = PidFile(os.path.abspath(config.pid_file))
        pid_file.write()
        stack.callback(pid_file.remove)
    lifeline_read, lifeline_write = os.pipe()
    stack.callback(os.close, lifeline_read)
    stack.callback(os.close, lifeline_write)
    return Setup(
        dataclasses.replace(launch, files=settings.files),
        settings,
        size,
        claim,
        tuple(listeners),
        balancing,
        doors,
        shared,
        lifeline_read,
        lifeline_write,
        identity,
        os.urandom(8),
        state,
    )


def _claim(config: Config) -> rundir.Claim:
    """Take the name asked for, or the app's with a number when that is taken."""
    place = rundir.find(config.runtime_dir)
    if config.name:
        return place.claim(config.name)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", config.app.partition(":")[0]).strip("-.")[:48] or "app"
    for number in range(1, _NAME_TRIES):
        try:
            return place.claim(stem if number == 1 else f"{stem}-{number}")
        except CouldNotStart:
            if number == _NAME_TRIES - 1:
                raise
    raise CouldNotStart(f"too many clusters named {stem}: choose a name with --name")
