"""What a screen of `tercio top` shows, as plain text, and whether it is the picture kept here."""

import html
import os
import re
from pathlib import Path

from textual.app import App

_PIECE = re.compile(r'<text (?![^>]*-title")[^>]*?x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*)</text>')
_COLUMN = 12.2  # the width of a character in the drawing
_PICTURES = Path(__file__).parent / "pictures"


def text_of(app: App[None]) -> str:
    """The lines of the screen, without what is blank at their ends."""
    lines: dict[float, list[str]] = {}
    for x, y, escaped in _PIECE.findall(app.export_screenshot(simplify=True)):
        line = lines.setdefault(float(y), [])
        column, piece = round(float(x) / _COLUMN), html.unescape(escaped).replace("\xa0", " ")
        line += " " * (column + len(piece) - len(line))
        line[column : column + len(piece)] = piece
    return "\n".join("".join(lines[y]).rstrip() for y in sorted(lines)) + "\n"


def assert_is(name: str, shown: str) -> None:
    """Compare with the picture of that name; with TERCIO_PICTURES=keep it becomes this one."""
    path = _PICTURES / f"{name}.txt"
    if os.environ.get("TERCIO_PICTURES") == "keep":
        path.write_text(shown)
    assert shown == path.read_text()
