"""Read and write sizes and durations as people write them: ``300MB``, ``1.5``, ``5m``.

Everything here raises ``ValueError``; what an option allows and how to say so is `kinds`' job.
"""

import math
import re

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

# As coreutils and systemd read them: MB counts in thousands, MiB and a bare M in 1024s.
_SIZE_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    **{unit: 1000**power for power, unit in enumerate(("kb", "mb", "gb", "tb"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("k", "m", "g", "t"), 1)},
}
_DURATION_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)", re.ASCII)

# Past these a wait or a limit means "never", and select() or setrlimit() would overflow.
LONGEST_SECONDS = 366 * 86400.0
LARGEST_BYTES = 1 << 60


def parse_size(text: object) -> int:
    """Bytes of ``300MB`` (decimal), ``300MiB`` or ``1G`` (both binary), or of a plain number."""
    size = _bytes(text)
    if not 0 <= size <= LARGEST_BYTES:
        raise ValueError(f"{size} bytes is out of range")
    return size


def _bytes(text: object) -> int:
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    digits, unit = _split(text)
    if unit.lower() not in _SIZE_UNITS:
        raise ValueError(f"{unit!r} is not a unit of size")
    factor = _SIZE_UNITS[unit.lower()]
    # Whole numbers stay whole: a float would round sizes past 2**53.
    if "." not in digits:
        return int(digits) * factor
    if factor == 1:
        raise ValueError("a byte cannot be divided")
    return round(float(digits) * factor)


def parse_duration(text: object) -> float:
    """Seconds of ``90``, ``1.5``, ``250ms``, ``30s``, ``5m``, ``1h``, ``2d`` or of a number."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(min(text, 2 * LONGEST_SECONDS))
    else:
        digits, unit = _split(text)
        if unit.lower() not in _DURATION_UNITS:
            raise ValueError(f"{unit!r} is not a unit of time")
        seconds = float(digits) * _DURATION_UNITS[unit.lower()]
    if math.isnan(seconds) or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError("the duration is out of range")
    return seconds


def _split(text: object) -> tuple[str, str]:
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} is neither text nor a number")
    found = _NUMBER_AND_UNIT.fullmatch(text.strip())
    # 30 digits are far past every limit, and int() of a million digits takes a while.
    if found is None or len(found[1]) > 30:
        raise ValueError("not a number with a unit")
    return found[1], found[2]


def format_size(size: int) -> str:
    """The shortest exact text of a size: ``parse_size`` gives the same bytes back."""
    if size:
        for unit in ("TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB"):
            factor = _SIZE_UNITS[unit.lower()]
            if size % factor == 0:
                return f"{size // factor}{unit}"
    return str(size)


def format_duration(seconds: float) -> str:
    """The shortest text of a duration; ``parse_duration`` gives it back, to the nanosecond."""
    for unit in ("d", "h", "m"):
        factor = _DURATION_UNITS[unit]
        if seconds and seconds % factor == 0:
            return f"{int(seconds / factor)}{unit}"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    # Not repr(): it turns to exponents below 1e-4, which nobody writes and the parser refuses.
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def human_size(size: float) -> str:
    """A size for a table: three digits and a binary unit, rounded."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        # 1023.6 KiB would print as "1024 KiB"; the next unit up reads better.
        if size >= factor * 0.9995:
            number = size / factor
            return f"{number:.0f} {unit}" if number >= 99.5 else f"{number:.3g} {unit}"
    return f"{size:.0f} B"


def human_duration(seconds: float) -> str:
    """A duration for a table: the two largest units, cut off rather than rounded."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    if minutes:
        return f"{minutes}m {whole % 60:02d}s"
    return f"{whole}s"
