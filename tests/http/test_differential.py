"""h11 and llhttp read what we serve as we do; where they don't, it is known why."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import pytest

from tests.http import differences
from tests.http.malformed import CASES, NEXT, Case
from tests.http.others import Reading, by_h11, by_llhttp
from tests.http.place import Place, place
from tests.http.trials import check_readings, spoil

pytestmark = pytest.mark.timeout(120)

_PARSERS = {
    "h11": (by_h11, differences.H11_SERVES, differences.H11_REFUSES),
    "llhttp": (by_llhttp, differences.LLHTTP_SERVES, differences.LLHTTP_REFUSES),
}
_BATCHES = 10
_TRIALS = 50  # in each batch

Reasons = Mapping[str, frozenset[str]]


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as server:
        yield server


@pytest.mark.parametrize("parser", _PARSERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_difference_from_the_table_is_explained(case: Case, parser: str) -> None:
    by, serves, refuses = _PARSERS[parser]
    if case.request is None:
        assert takes(by, case) == (case.name in names(serves))
    else:
        assert agrees(by, case) == (case.name not in names(refuses))


def takes(by: Callable[[bytes], Reading], case: Case) -> bool:
    """Whether a parser serves what we refuse, or waits for more of it."""
    reading = by(case.data + NEXT)
    return bool(reading.requests) or not reading.refusal


def agrees(by: Callable[[bytes], Reading], case: Case) -> bool:
    """Whether a parser reads a case that we serve as the table says, and what follows it."""
    request = case.request
    assert request is not None
    reading = by(case.data + NEXT)
    if not reading.requests:
        return False
    first, *others = reading.requests
    assert (first.method, first.body) == (request.method, request.body)
    assert request.header is None or request.header in first.headers
    return bool(request.ends) == reading.ends if not others else others[0].target == b"/next"


def names(reasons: Reasons) -> set[str]:
    return set(chain.from_iterable(reasons.values()))


@pytest.mark.parametrize("reasons", [each for _, *both in _PARSERS.values() for each in both])
def test_every_explained_difference_is_in_the_table(reasons: Reasons) -> None:
    assert names(reasons) <= {case.name for case in CASES}
    assert sum(map(len, reasons.values())) == len(names(reasons)), "explained twice"


@pytest.mark.parametrize("case", [case for case in CASES if case.request], ids=str)
def test_others_read_what_we_serve_as_we_do(server: Place, case: Case) -> None:
    data = case.data + NEXT
    _, seen = server.exchange([data])
    check_readings(data, seen)


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_others_read_what_we_serve_of_spoiled_streams_as_we_do(server: Place, batch: int) -> None:
    for trial in range(_TRIALS):
        spoil(server, f"differential {batch} {trial}")
