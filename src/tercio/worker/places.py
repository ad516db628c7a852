"""Tell the application's files from those of Python, of installed packages and of Tercio."""

import os
import sysconfig
from functools import lru_cache

import tercio

TERCIO = os.path.dirname(os.path.realpath(tercio.__file__)) + os.sep
_PYTHON = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@lru_cache(maxsize=4096)
def is_application(filename: str) -> bool:
    """Whether the file is the application's own."""
    if filename.startswith("<"):  # <frozen importlib._bootstrap>, <string>
        return False
    path = resolved(filename)
    return not (
        path.startswith((TERCIO, *_PYTHON)) or any(packages in path for packages in _PACKAGES)
    )


def resolved(filename: str) -> str:
    """The file itself, behind all links; as it is where that cannot be told."""
    try:
        return os.path.realpath(filename)
    except OSError:  # a relative name, and the working directory is gone
        return filename


def shown(filename: str) -> str:
    """The file as a person in the working directory would name it."""
    return filename.removeprefix(_HERE)


def _working_directory() -> str:
    try:
        return os.getcwd() + os.sep
    except OSError:
        return ""


# Asked once, when the worker starts: a deployment may remove the directory under it.
_HERE = _working_directory()
