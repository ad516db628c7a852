"""What an option is: one field of `config.Config` with all that is known about it.

Names derive from the field: ``stop_timeout`` is ``--stop-timeout`` on the command line,
``TERCIO_STOP_TIMEOUT`` in the environment and ``stop-timeout`` or ``stop_timeout`` in a file.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from tercio.options.kinds import Kind

T = TypeVar("T")

PREFIX = "TERCIO_"
ATTACH_VARIABLE = "TERCIO_ATTACH"
"""No option: names the cluster that a process attaches to, or is its runtime directory."""

_KEY = "tercio.option"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: everything that flags, files, help and the docs table are made from."""

    field: str
    default: object
    kind: Kind[Any]
    help: str
    group: "Group"
    flags: tuple[str, ...]
    """The spellings that help shows, the main one first: ``("--workers", "-w")``."""
    aliases: tuple[str, ...]
    """Spellings of other servers, accepted and not shown."""
    foreign_env: tuple[str, ...]
    """Variables of other tools that are honoured after ours: ``WEB_CONCURRENCY``."""
    instead: str
    """What to do where a reload may not change it; empty where it may."""
    common: bool
    """Whether the short help shows it."""
    secret: bool

    @property
    def reloadable(self) -> bool:
        return not self.instead

    @property
    def flag(self) -> str:
        return self.flags[0] if self.flags else self.field.upper()

    @property
    def key(self) -> str:
        """The spelling in files."""
        return self.field.replace("_", "-")

    @property
    def env(self) -> str:
        return PREFIX + self.field.upper()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every spelling a file may use, with dashes; the main one first."""
        words = (flag[2:] for flag in (*self.flags, *self.aliases) if flag.startswith("--"))
        return tuple(dict.fromkeys((self.key, *words)))

    @property
    def is_repeatable(self) -> bool:
        return bool(self.kind.separator)

    @property
    def shown_default(self) -> str:
        """The default for help and docs: what it means rather than a bare 0."""
        if self.kind.zero and not self.default:
            return self.kind.zero
        return self.show(self.default)

    def show(self, value: object) -> str:
        """The value as one would write it; secrets as dots, nothing as nothing."""
        if self.secret and value:
            return "***"
        return str(self.kind.show(value))


@dataclass(frozen=True, slots=True)
class Group:
    """A section of the help; its options are declared with ``option``."""

    title: str
    intro: str

    def option(
        self,
        default: T,
        kind: Kind[T],
        help: str,
        *,
        flags: tuple[str, ...] = (),
        aliases: tuple[str, ...] = (),
        env: tuple[str, ...] = (),
        instead: str = "",
        common: bool = False,
        secret: bool = False,
        positional: bool = False,
    ) -> T:
        """Declare an option as the default of a dataclass field.

        ``flags`` adds spellings to the derived one; ``instead`` says what to do about an option
        that a reload may not change.
        """
        facts = {
            "kind": kind,
            "help": help,
            "group": self,
            "flags": flags,
            "aliases": aliases,
            "foreign_env": env,
            "instead": instead,
            "common": common,
            "secret": secret,
            "positional": positional,
        }
        return dataclasses.field(default=default, metadata={_KEY: facts})


def options_of(cls: type) -> dict[str, Option]:
    """The options of a dataclass by field name, in the order of their declaration."""
    found = {}
    for field in dataclasses.fields(cls):
        facts = dict(field.metadata[_KEY])
        own = () if facts.pop("positional") else (f"--{field.name.replace('_', '-')}",)
        facts["flags"] = own + facts["flags"]
        found[field.name] = Option(field=field.name, default=field.default, **facts)
    return found
