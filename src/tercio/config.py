"""The only source of options: names, defaults, help, flags, variables, what a reload may change.

The command line, `settings`, the help and docs/options.md are all made from the fields of `Config`,
which come from the classes in `options`.
Reading files and the environment is `settings`' job.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tercio.errors import ConfigError
from tercio.options import Group, Option, kinds, options_of, subjects
from tercio.options.addresses import ADDRESS, TLS, AddressOptions
from tercio.options.application import APP, AppOptions
from tercio.options.hooks import HOOKS, HookOptions
from tercio.options.http import HTTP, HttpOptions
from tercio.options.logs import LOGS, LogOptions
from tercio.options.process import PROCESS, ProcessOptions
from tercio.options.releases import START, STOP, ReleaseOptions
from tercio.options.sharing import SHARING, SharingOptions
from tercio.options.sidecar import OPERATIONS, SidecarOptions
from tercio.options.workers import HEALTH, RECYCLING, RESTARTS, WORKERS, WorkerOptions

DEVELOPMENT = Group("Development", "What `tercio dev` looks at; `tercio run` does not look.")
CLUSTER = Group("Cluster", "How `status`, `reload` and the others find this cluster.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class Config(
    LogOptions,
    HookOptions,
    ProcessOptions,
    SidecarOptions,
    AppOptions,
    AddressOptions,
    HttpOptions,
    ReleaseOptions,
    WorkerOptions,
    SharingOptions,
):
    """Every option with its value. Durations are seconds, sizes are bytes."""

    watch: tuple[str, ...] = DEVELOPMENT.option(
        (),
        kinds.several(kinds.text("DIR", "a directory")),
        "Load the application anew when a file below changes, instead of below the directory that "
        "it is imported from. Repeatable.",
        aliases=("--reload-dir",),
    )
    watch_filter: tuple[str, ...] = DEVELOPMENT.option(
        (),
        kinds.several(kinds.text("PATTERN", "a pattern such as '*.html' or '!tests/*'")),
        "Files to look at beside '*.py'; with '!' before it, files not to look at. Repeatable.",
        aliases=("--reload-include",),
    )

    name: str = CLUSTER.option(
        "",
        kinds.text(
            "NAME",
            "a name of up to 64 letters, digits, dots, dashes or underscores",
            pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ),
        "The cluster's name, for several on one machine.",
        flags=("-n",),
        instead=_FIXED,
        common=True,
    )
    runtime_dir: str = CLUSTER.option(
        "",
        kinds.text("DIR", "a directory"),
        "Where the control socket lives.",
        instead=_FIXED,
        common=True,
    )

    @property
    def binds(self) -> tuple[str, ...]:
        """Every address to listen on, in the notation of ``bind``."""
        if self.fd is not None:
            return (f"fd:{self.fd}",)
        if self.uds:
            return (f"unix:{self.uds}",)
        if self.bind or self.interface == "callable":
            return self.bind
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{host}:{self.port}",)

    @property
    def scheme(self) -> str:
        """What the URLs of addresses begin with."""
        if self.interface == "callable":
            return "tcp"
        return "https" if self.ssl_certfile else "http"

    @property
    def moves_connections(self) -> bool:
        """Whether a worker can give a connection to another one."""
        is_ours = self.server == "tercio" and self.interface != "callable"
        return is_ours and not self.ssl_certfile

    @property
    def engine(self) -> str:
        """What carries messages and shared state."""
        return "redis" if self.redis else "embedded"

    @property
    def resource_limits(self) -> dict[str, int]:
        """``worker_limit`` as numbers: bytes, descriptors, seconds."""
        return subjects.resource_limits(self.worker_limit)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values of all options that nobody else should see."""
        values = (getattr(self, name) for name, option in OPTIONS.items() if option.secret)
        return tuple(str(value) for value in values if value)

    def to_json(self, *, redacted: bool = False) -> dict[str, object]:
        """Every field as JSON would hold it; ``redacted`` for what leaves the cluster."""
        values: dict[str, object] = {}
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            values[name] = list(value) if isinstance(value, tuple) else value
            if redacted and option.secret and value:
                values[name] = "***"
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Config":
        """The config that ``to_json`` wrote; fields it did not know take their defaults."""
        if unknown := sorted(values.keys() - OPTIONS.keys()):
            raise ConfigError(f"unknown options in a stored configuration: {', '.join(unknown)}")
        tuples = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return dataclasses.replace(cls(), **tuples)  # type: ignore[arg-type]


_ORDER = (
    APP, ADDRESS, WORKERS, PROCESS, TLS, HTTP, LOGS, START, HOOKS, STOP, RESTARTS, RECYCLING,
    HEALTH, OPERATIONS, SHARING, CLUSTER,
)  # fmt: skip
"""The groups as help and docs show them; a dataclass tells its base's fields first."""


def _place(group: Group) -> int:
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


OPTIONS: dict[str, Option] = dict(
    sorted(options_of(Config).items(), key=lambda named: _place(named[1].group))
)
