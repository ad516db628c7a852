"""The list of what happened, on the screen."""

import time
from collections import deque
from typing import Final

from rich.text import Text
from textual.events import Resize
from textual.widgets import RichLog

from tercio.cli.client import Message, number, text
from tercio.cli.text import escape

_MOST: Final = 500
_STYLES: Final = {"warning": "yellow", "error": "red", "debug": "dim"}


class Happenings(RichLog):
    """The newest events, as wide as there is room."""

    def __init__(self) -> None:
        super().__init__(max_lines=2 * _MOST, wrap=True, min_width=1)
        self._shown: deque[Text] = deque(maxlen=_MOST)
        self._width = 0

    def hear(self, event: Message) -> None:
        """Add one."""
        moment = number(event, "time")
        clock = time.strftime("%H:%M:%S", time.localtime(moment)) if moment is not None else ""
        style = _STYLES.get(text(event, "level"), "")
        line = Text().append(f"{clock} ", style="dim")
        line.append(escape(text(event, "text") or text(event, "kind")), style=style)
        self._shown.append(line)
        self.write(line)

    def forget(self) -> None:
        """Begin anew."""
        self._shown.clear()
        self.clear()

    def on_resize(self, event: Resize) -> None:
        """What was broken into lines for another width is broken anew."""
        if event.size.width != self._width:
            self._width = event.size.width
            self.clear()
            for line in self._shown:
                self.write(line)
