"""Lines of values as blocks: ``▁▂▅█``. Pure."""

from collections.abc import Sequence
from typing import Final

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_FULL: Final = 8

Values = Sequence[float | None]


def bars(values: Values, width: int, height: int = 1, *, low: float = 0.0, high: float) -> str:
    """The newest ``width`` values as columns of ``height`` lines, the newest at the right.

    ``low`` is the foot and ``high`` the top. What is known and not above ``low`` is the lowest
    block, so that a line of zeros is a line; None is blank.
    """
    newest = list(values)[-width:] if width > 0 else []
    heights = [_eighths(value, low, high, height * _FULL) for value in newest]
    blank = " " * (width - len(newest))
    lines = []
    for row in range(height - 1, -1, -1):
        filled = (min(max(eighths - row * _FULL, 0), _FULL) for eighths in heights)
        lines.append(blank + "".join(_BLOCKS[part] for part in filled))
    return "\n".join(lines)


def _eighths(value: float | None, low: float, high: float, most: int) -> int:
    if value is None:
        return 0
    if high <= low:
        return 1
    return max(1, min(most, round((value - low) / (high - low) * most)))
