"""An application that leaves nothing to write to, and a log handler that fails."""

import logging
import sys

from tests.worker.apps import app as app


class _Broken(logging.Handler):
    def flush(self) -> None:
        raise RuntimeError("no log here")


_kept = _Broken()
sys.stdout = sys.stderr = None
