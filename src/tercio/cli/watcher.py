"""Watch files for `tercio dev`, and ask the primary, its parent, to load what changed.

``python -m tercio.cli.watcher ASKED``. Which changes count is decided here; what comes of a reload
is not.
"""

import fnmatch
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Final, Self

from tercio.system import libc, signals
from tercio.system.lines import escape

USUAL: Final = ("*.py", "*.pyi", "*.pyx", "*.pyd", "*.so")
"""What an import reads. (Templates are read again by most frameworks in debug mode.)"""

NEVER: Final = frozenset(
    {
        "__pycache__", ".git", ".hg", ".svn", ".idea", ".vscode", ".tox", ".nox", ".venv", "venv",
        "node_modules", "site-packages", ".mypy_cache", ".pytest_cache", ".ruff_cache",
        ".hypothesis",
    }
)  # fmt: skip
"""Directories that no change below counts for."""

_SETTLED: Final = 50  # milliseconds without a change: editors write a file in several steps
_LONGEST: Final = 1000  # milliseconds of changes without a pause
_LOOK: Final = 5000  # milliseconds between two looks whether the primary lives, where none is told
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look at."""

    directories: list[str]
    patterns: list[str]
    """Beside the usual ones; with ``!`` before it, not at these."""
    files: list[str]
    """Settings that were read; looked at wherever they lie."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def counts(self, path: str) -> bool:
        """Whether a change of the file at ``path``, an absolute one, is to be loaded."""
        if path in self.files:
            return True
        for directory in self.directories:
            relative = os.path.relpath(path, directory)
            if relative.startswith(os.pardir):
                continue
            *folders, name = relative.split(os.sep)
            if NEVER.intersection(folders):
                continue
            excluded = [each[1:] for each in self.patterns if each.startswith("!")]
            if any(_matches(relative, name, pattern) for pattern in excluded):
                continue
            included = [each for each in self.patterns if not each.startswith("!")]
            return any(_matches(relative, name, pattern) for pattern in (*USUAL, *included))
        return False


def _matches(relative: str, name: str, pattern: str) -> bool:
    """``*.html`` and ``secret.py`` go by the name, ``tests/*`` by the path below the directory."""
    if "/" not in pattern.rstrip("/"):
        pattern = pattern.rstrip("/")
        folders = relative.split(os.sep)[:-1]
        return fnmatch.fnmatch(name, pattern) or any(fnmatch.fnmatch(f, pattern) for f in folders)
    return fnmatch.fnmatch(relative, pattern.removeprefix("./"))


def main(argv: list[str]) -> None:
    """Look until the primary is gone."""
    from watchfiles import watch  # `tercio dev` has looked whether it is there

    signals.unblock_all()
    for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the primary decides, and we end with it
    primary = os.getppid()
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    asked = Asked.from_json(argv[1])
    # Where a settings file lies is looked at, too, though not below it.
    beside = {os.path.dirname(file) for file in asked.files} - set(asked.directories)
    changes = watch(
        *asked.directories,
        *[file for file in asked.files if os.path.dirname(file) in beside],
        watch_filter=lambda change, path: asked.counts(path),
        step=_SETTLED,
        debounce=_LONGEST,
        rust_timeout=_LOOK,
        yield_on_timeout=True,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    _say(f"watching {', '.join(asked.directories)} for changes")
    try:
        for found in changes:
            if os.getppid() != primary:
                return
            if found:
                _say(f"{_named(asked, sorted({path for _, path in found}))} changed, loading")
                os.kill(primary, signal.SIGUSR2)
    except (OSError, RuntimeError) as error:  # too many files to watch, or a directory that is gone
        _say(
            f"changes are no longer seen: {error}; name fewer files with --watch, or set "
            "WATCHFILES_FORCE_POLLING=1",
            level="ERROR",
        )


def _named(asked: Asked, paths: list[str]) -> str:
    shown = [_short(asked, path) for path in paths[:_SHOWN]]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _short(asked: Asked, path: str) -> str:
    for directory in asked.directories:
        if path.startswith(directory + os.sep):
            return os.path.relpath(path, directory)
    return path


def _say(text: str, level: str = "INFO") -> None:
    """Write a line as the log does."""
    os.write(2, f"{level + ':':<10}{escape(text)}\n".encode(errors="replace"))


if __name__ == "__main__":
    main(sys.argv)
