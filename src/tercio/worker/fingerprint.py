"""Name the code that a worker really loaded, so that two generations can be told apart."""

import hashlib
import os
import sys
from typing import Final

from tercio.worker.places import is_application

_LENGTH: Final = 12


def take() -> str:
    """A short hash of the application's loaded files."""
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_application(file):
            found.add(os.path.realpath(file))
    digest = hashlib.sha256()
    for path in sorted(found):
        try:
            status = os.stat(path)
        except OSError:  # an archive's member, or removed since
            continue
        digest.update(f"{path}\0{status.st_mtime_ns}\0{status.st_size}\n".encode(errors="replace"))
    return digest.hexdigest()[:_LENGTH]
