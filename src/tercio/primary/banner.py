"""Lay out what `tercio run` prints when it starts. The event is one; its look has several lines."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from tercio.core.events import ClusterStarted
from tercio.system.lines import escape

_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_CYAN: Final = "\x1b[36m"
_RESET: Final = "\x1b[0m"

_KEY_WIDTH: Final = 10


class Line(NamedTuple):
    """One line, harmless, for a file and for a terminal."""

    plain: str
    coloured: str


def banner(event: ClusterStarted) -> Iterator[Line]:
    """What is served where, by how many and why, and how to drive it."""
    app = escape(event.app)
    yield Line(f"Tercio serves {app}", f"Tercio serves {_BOLD}{app}{_RESET}")
    for number, url in enumerate(event.urls):
        yield _fact("address" if number == 0 else "", escape(url), _CYAN)
    made_of = f"server {event.server}, engine {event.engine}"
    yield _fact("workers", f"{event.workers} ({event.why}), {made_of}")
    yield _fact("cluster", f"{event.name}, pid {event.pid}, Tercio {event.version}")
    yield _fact("directory", escape(event.runtime_dir))
    yield _fact("look", "tercio status, tercio events")
    yield _fact("change", "tercio reload, tercio scale N, tercio recycle SLOT")
    yield _fact("stop", "Ctrl+C or tercio stop; twice ends at once")


def _fact(key: str, value: str, colour: str = "") -> Line:
    padded = key.ljust(_KEY_WIDTH)
    shown = f"{colour}{value}{_RESET}" if colour else value
    return Line(f"    {padded}{value}", f"    {_DIM}{padded}{_RESET}{shown}")
