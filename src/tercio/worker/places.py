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
    path = os.path.realpath(filename)
    return not (
        path.startswith((TERCIO, *_PYTHON)) or any(packages in path for packages in _PACKAGES)
    )


def shown(filename: str) -> str:
    """The file as a person in the working directory would name it."""
    here = os.getcwd() + os.sep
    return filename.removeprefix(here)
