"""Each session belongs to one worker, and only those of a worker that is gone move."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.core import affinity
from tercio.core.model import WorkerId

SECRET = b"8 bytes!"


@given(st.integers(0, 1023), st.integers(1, 10**9))
def test_an_id_names_the_worker_that_made_it(slot: int, incarnation: int) -> None:
    worker = WorkerId(slot, incarnation)
    assert affinity.minter(affinity.mint(worker, SECRET).encode(), SECRET) == worker


def test_ids_are_fit_for_a_cookie_and_a_url_and_differ() -> None:
    ids = {affinity.mint(WorkerId(3, 17), SECRET) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{30,64}", each) for each in ids)


def test_an_id_of_the_application_may_follow() -> None:
    worker = WorkerId(3, 17)
    token = affinity.mint(worker, SECRET).encode()
    assert affinity.minter(token + b"~", SECRET) == worker
    assert affinity.minter(token + b"~" + b"7f~x" * 20, SECRET) == worker
    assert affinity.minter(token + b"~a b", SECRET) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: b"1" + token[1:],
        lambda token: token[:-1],
        lambda token: token + b"0",
        lambda token: token[:-1] + (b"0" if token[-1:] != b"0" else b"1"),
        lambda token: token.replace(b".", b"-"),
        lambda token: b"\xff" + token,
        lambda token: token + b"\n",
        lambda token: b"",
    ],
)
def test_what_this_cluster_did_not_make_names_nobody(change: object) -> None:
    token = affinity.mint(WorkerId(3, 17), SECRET).encode()
    assert affinity.minter(change(token), SECRET) is None  # type: ignore[operator]


def test_an_id_of_another_cluster_names_nobody() -> None:
    assert affinity.minter(affinity.mint(WorkerId(3, 17), b"another").encode(), SECRET) is None


@given(st.binary(max_size=300))
def test_whatever_a_client_sends_is_no_error(key: bytes) -> None:
    assert affinity.minter(key, SECRET) is None
    assert 0 <= affinity.fingerprint(key, SECRET) < 1 << 64


def test_keys_are_spread_evenly_over_the_slots() -> None:
    prints = [affinity.fingerprint(f"user-{n}".encode(), SECRET) for n in range(4000)]
    homes = Counter(affinity.home(each, range(4)) for each in prints)
    assert all(850 <= count <= 1150 for count in homes.values()), homes  # 5.5 deviations


def test_without_a_slot_only_its_own_keys_go_elsewhere() -> None:
    prints = [affinity.fingerprint(f"user-{n}".encode(), SECRET) for n in range(1000)]
    for each in prints:
        before, after = affinity.home(each, range(5)), affinity.home(each, [0, 1, 3, 4])
        assert after == before or before == 2


def test_nobody_has_a_home_where_nobody_serves() -> None:
    assert affinity.home(12345, []) is None
