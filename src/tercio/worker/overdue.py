"""Requests to a WSGI application that took too long: where they are, and what it costs.

A thread cannot be ended, so one that overstays is missing until it ends by itself. A worker that
misses half of its threads asks for a successor, which starts before it leaves.
"""

import time
from typing import Final
from urllib.parse import quote

from tercio.config import Config
from tercio.dataplane.scoreboard import Field, Row
from tercio.http.asgi import App
from tercio.servers.interface import adapt
from tercio.servers.wsgi.app import Overdue, WsgiApp
from tercio.worker import stacks
from tercio.worker.clipping import ERROR_LIMIT, PATH_LIMIT, STACK_LIMIT, clip, clip_line
from tercio.worker.link import Link

_AT_ONCE: Final = 10
_EACH: Final = 1.0
"""Seconds. A crowd that waits for a thread is overdue all at once: so many are told of, and then
one each second; all are counted."""


class OverdueRequests:
    """What a worker does about them."""

    def __init__(self, row: Row, link: Link) -> None:
        self._row = row
        self._link = link
        self._has_asked = False
        self._quiet_from = 0.0  # monotonic seconds: those told of since have used up the time

    def adapt(self, app: object, config: Config) -> App:
        """The application as ASGI 3, and watched if it speaks WSGI."""
        limit = config.timeout_request
        adapted = adapt(app, config.interface, config.threads, limit, self._take)
        if limit and not isinstance(adapted, WsgiApp):
            text = "--timeout-request is for WSGI applications; this one has asyncio.timeout"
            self._link.note("warning", text)
        return adapted

    def _take(self, overdue: Overdue) -> None:
        """In the loop: tell of one."""
        self._row[Field.OVERDUE] += 1
        if self._may_tell():
            self._tell(overdue)
        if not self._has_asked and 2 * overdue.stuck >= overdue.threads:
            self._has_asked = True
            stuck, threads = overdue.stuck, overdue.threads
            self._link.send({"type": "stuck", "stuck": stuck, "threads": threads})

    def _may_tell(self) -> bool:
        now = time.monotonic()
        self._quiet_from = max(self._quiet_from, now - _AT_ONCE * _EACH)
        if self._quiet_from + _EACH > now:
            return False
        self._quiet_from += _EACH
        return True

    def _tell(self, overdue: Overdue) -> None:
        frame = overdue.frame
        # Quoted: a path may hold line breaks, and what terminals obey.
        request = f"{overdue.request['method']} {quote(overdue.request['path'])}"
        self._link.send(
            {
                "type": "overdue",
                "request": clip_line(request, PATH_LIMIT),
                "seconds": round(overdue.seconds, 3),
                "culprit": clip_line(stacks.culprit(frame), ERROR_LIMIT) if frame else "",
                "stack": clip(stacks.stack(frame), STACK_LIMIT) if frame else "",
            }
        )
