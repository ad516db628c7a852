"""Check what an application calls its metrics, by the rules of Prometheus."""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST: Final = 200
_OURS: Final = "tercio_"
_RESERVED: Final = {"histogram": {"le"}, "gauge": {"pid"}, "counter": set[str]()}
_MOST_BUCKETS: Final = 200


def check_name(name: str) -> str:
    """Raises `ValueError` for what is no name, or one of ours."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ValueError(
            f"{str(name)[:_LONGEST]!r} cannot name a metric: letters, digits and _, at most "
            f"{_LONGEST}, and no digit first"
        )
    if name.startswith(_OURS):
        raise ValueError(f"{name!r}: names that begin with {_OURS!r} are the cluster's own")
    return name


def check_labels(kind: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Raises `ValueError` for what cannot name a label of such a metric."""
    if isinstance(labels, str):
        raise ValueError(f"labels are a sequence of names: give ({labels!r},)")
    found = tuple(labels)
    for label in found:
        if not isinstance(label, str) or not _LABEL.fullmatch(label) or label.startswith("__"):
            raise ValueError(f"{label!r} cannot name a label: letters, digits and _")
        if label in _RESERVED[kind] or label in ("n", "value", "self", "clock"):
            raise ValueError(f"{label!r} cannot name a label of a {kind}: it has a meaning already")
    if len(set(found)) != len(found):
        raise ValueError(f"the labels {list(found)} name one twice")
    return found


def check_buckets(buckets: Sequence[float]) -> tuple[float, ...]:
    """The finite bounds. Raises `ValueError` unless they rise."""
    bounds = tuple(float(bound) for bound in buckets if bound != math.inf)
    if not 0 < len(bounds) <= _MOST_BUCKETS or not all(map(math.isfinite, bounds)):
        raise ValueError(f"a histogram has 1 to {_MOST_BUCKETS} buckets with numbers as bounds")
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"the bounds of buckets rise: {list(bounds)}")
    return bounds
