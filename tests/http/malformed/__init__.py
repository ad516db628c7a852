"""Requests that are malformed, ambiguous, or only look so, each with its verdict. Data only."""

from tests.http.malformed.case import GOOD, NEXT, Case
from tests.http.malformed.chunks import CHUNKS
from tests.http.malformed.fields import FIELDS
from tests.http.malformed.framing import FRAMING
from tests.http.malformed.hosts import HOSTS
from tests.http.malformed.lines import LINES
from tests.http.malformed.sizes import SIZES

CASES: tuple[Case, ...] = (*LINES, *HOSTS, *FIELDS, *FRAMING, *CHUNKS, *SIZES)

__all__ = ["CASES", "GOOD", "NEXT", "Case"]
