"""An application in which no stack can be read: it spoils a module of the standard library."""

import linecache

from tests.worker.apps import app as app


def _fail(*_: object) -> list[str]:
    raise RuntimeError("no source here")


linecache.getline = linecache.getlines = linecache.checkcache = _fail  # type: ignore[assignment]
