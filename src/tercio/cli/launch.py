"""Hand over from the command line to the primary: same process, fresh interpreter.

The primary gets no flags but one descriptor with a *launch record*, and reads files and the
environment itself, so that a reload can read them again.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import tercio
from tercio.errors import ConfigError
from tercio.system import signals

PRIMARY = "tercio.primary"

# -E and -s: a monitoring agent or a sitecustomize on PYTHONPATH must not load into the primary
# (workers get the environment as it is). -P: nor may a module in the working directory.
ISOLATED = "-EsP"

_FROM_A_PATH = (
    "import sys; sys.path.insert(0, {root!r}); import tercio; del sys.path[0]; "
    "import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def working_directory(environ: Mapping[str, str]) -> str:
    """The directory as the shell named it, where that is true; else as the kernel does.

    ``/srv/current`` may be a link that a deployment moves; a resolved path would pin the release.
    """
    try:
        actual = os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "the working directory no longer exists; start from a directory that does"
        ) from error
    named = environ.get("PWD", "")
    try:
        return named if os.path.isabs(named) and os.path.samefile(named, actual) else actual
    except OSError:
        return actual


def record(
    options: Mapping[str, object],
    argv: Sequence[str],
    cwd: str,
    python: Sequence[str],
    *,
    is_development: bool = False,
) -> dict[str, object]:
    """What the primary needs to know and cannot find out by itself."""
    return {
        "version": tercio.__version__,
        "cli": dict(options),
        "argv": list(argv),
        "cwd": cwd,
        "python": list(python),
        "is_development": is_development,
    }


def interpreter(orig_argv: Sequence[str]) -> list[str]:
    """This interpreter with the ``-X``, ``-W`` and ``-O`` it was started with, for workers."""
    flags: list[str] = []
    given = iter(orig_argv[1:])
    for word in given:
        if word[:2] in ("-X", "-W"):
            flags += [word] if len(word) > 2 else [word, next(given, "")]
        elif word.startswith("-") and set(word[1:]) <= set("BbdEIOPqRsSuv"):
            flags.append(word)
        else:
            break
    return [sys.executable, *flags]


def primary_command(fd: int) -> list[str]:
    """The command line of the primary."""
    root = str(Path(tercio.__file__).parent.parent)
    if _is_importable_isolated(root):
        return [sys.executable, ISOLATED, "-m", PRIMARY, str(fd)]
    # Only PYTHONPATH, the user's site or the working directory led here, and -EsP ignores them.
    code = _FROM_A_PATH.format(root=root, module=PRIMARY)
    return [sys.executable, ISOLATED, "-c", code, str(fd)]


def _is_importable_isolated(root: str) -> bool:
    import site

    for directory in site.getsitepackages():
        if os.path.realpath(directory) == os.path.realpath(root):
            return True
        # An editable install is a line in a .pth file.
        for path in Path(directory).glob("*.pth"):
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue
            if root in (line.strip() for line in lines):
                return True
    return False


def inherited_file(content: bytes) -> int:
    """A descriptor at the start of an unnamed file, which survives `exec`."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tercio-launch", 0)
    else:
        import tempfile

        fd, path = tempfile.mkstemp(prefix="tercio-launch-")
        os.unlink(path)
    os.set_inheritable(fd, True)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def become_primary(launch_record: Mapping[str, object]) -> NoReturn:
    """Replace this process by the primary."""
    _fill_standard_descriptors()
    fd = inherited_file(json.dumps(launch_record).encode())
    command = primary_command(fd)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it is when the descriptor was closed at our start
            stream.flush()
    signals.hold_early()  # the primary takes them once it can
    os.execve(command[0], command, os.environ)


def _fill_standard_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 is closed: else a listener or a log would get the number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
