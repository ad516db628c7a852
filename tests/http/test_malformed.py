"""Each request of the table gets its verdict, however its bytes are cut, and nothing after it."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.http.answers import final
from tests.http.malformed import CASES, GOOD, NEXT, Case
from tests.http.place import Place, place
from tests.http.recording import Seen

pytestmark = pytest.mark.timeout(120)

_MANY = 2000
"""Bytes beyond which a request is cut into pieces of more than one byte."""


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as server:
        yield server


def whole(data: bytes) -> Iterator[list[bytes]]:
    yield [data]


def bytewise(data: bytes) -> Iterator[list[bytes]]:
    size = 1 if len(data) < _MANY else 1009
    yield [data[at : at + size] for at in range(0, len(data), size)]


def halved_in_line_ends(data: bytes) -> Iterator[list[bytes]]:
    """In two, between the bytes of a line end, if there are not too many."""
    for at in range(1, len(data)):
        if data[at - 1 : at + 1] == b"\r\n" and len(data) < _MANY:
            yield [data[:at], data[at:]]


def linewise(data: bytes) -> Iterator[list[bytes]]:
    """In lines, and in lines that begin with the line feed of the one before."""
    for extra in (1, 2):
        ends = [at + extra for at in range(len(data)) if data[at : at + 2] == b"\r\n"]
        yield [data[a:b] for a, b in pairwise([0, *ends, len(data)])]


CUTS = (whole, bytewise, linewise, halved_in_line_ends)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_verdict_depends_on_no_cut(server: Place, case: Case) -> None:
    for cut in CUTS:
        # Behind a last request that has been answered nobody listens, and resets are in order.
        is_last = case.request is not None and case.request.ends and cut is not whole
        for pieces in cut(GOOD + case.data + (b"" if is_last else NEXT)):
            received, seen = server.exchange(pieces)
            assert verdict(case, received, seen, before=1), f"cut {cut.__name__}: {pieces[:2]}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_verdict_is_the_same_for_a_first_request(server: Place, case: Case) -> None:
    received, seen = server.exchange([case.data + NEXT])
    assert verdict(case, received, seen, before=0)


def verdict(case: Case, received: bytes, seen: list[Seen], before: int) -> bool:
    """Check all that a case says; never False, so that what is wrong is shown by its line."""
    methods = ["GET"] * before + [case.request.method if case.request else "GET"]
    found = final(received, methods)
    assert all(answer.is_whole for answer in found)
    assert [str(each) for each in seen[:before]] == ["GET /good 0"] * before
    assert [answer.status for answer in found[:before]] == [200] * before
    assert len(found) > before, "nothing was answered"
    found, seen = found[before:], seen[before:]
    if (request := case.request) is not None and found[0].status not in case.statuses:
        (asked, *others), ends = seen, request.ends
        assert (asked.method, asked.path, asked.query) == (
            request.method,
            request.path,
            request.query,
        )
        assert asked.is_whole
        assert asked.body == request.body
        assert request.header is None or request.header in asked.headers
        assert [each.path for each in others] == ([] if ends else ["/next"])
        assert [answer.body.decode() for answer in found] == [
            str(each) for each in [asked, *others]
        ]
        assert [answer.status for answer in found] == [200] * len(found)
        return True
    assert found[0].status in case.statuses
    assert found[0].closes
    assert len(found) == 1, "a refusal is the last answer"
    # Only a body can turn out to be bad once the application has begun.
    assert not any(each.is_whole or each.path != "/case" for each in seen)
    assert len(seen) <= 1
    return True


def test_the_table_is_large_and_its_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len([case for case in CASES if case.request is None]) >= 170
