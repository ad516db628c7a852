"""The options of processes: who they are, where they run. They are part of `config.Config`."""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group

PROCESS = Group("Processes", "Who workers are, and where they run.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """What a worker's process gets."""

    user: str = PROCESS.option(
        "",
        kinds.text("NAME", "a user name or number"),
        "Run workers as this user; the addresses are opened before, as root.",
        instead=_FIXED,
    )
    group: str = PROCESS.option(
        "",
        kinds.text("NAME", "a group name or number"),
        "Run workers in this group instead of the user's own.",
        instead=_FIXED,
    )
    allow_root: bool = PROCESS.option(
        False, kinds.switch(), "Let workers run as root, which is refused else.", instead=_FIXED
    )
    umask: int | None = PROCESS.option(
        None,
        kinds.or_none(subjects.umask()),
        "Permissions that files made by workers do not get, in octal.",
    )
    chdir: str = PROCESS.option(
        "",
        kinds.text("DIR", "a directory"),
        "Run workers in this directory; other relative paths are meant from there, too.",
        aliases=("--working-dir",),
        instead=_FIXED,
    )
    pid_file: str = PROCESS.option(
        "",
        kinds.text("FILE", "a file"),
        "Keep the primary's pid in this file as long as it runs.",
        aliases=("--pid", "--pidfile"),
        instead=_FIXED,
    )
