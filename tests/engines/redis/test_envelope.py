from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from tercio.engines.redis.backlog import Backlog
from tercio.engines.redis.envelope import Envelope, Malformed, host_of, pack, unpack

HOST = b"12345678"
NUMBER = st.integers(0, (1 << 64) - 1)
MESSAGES = st.lists(st.tuples(st.binary(max_size=255), st.binary(max_size=300)), max_size=5)


@given(publisher=NUMBER, first=NUMBER, messages=MESSAGES)
def test_an_envelope_comes_back(
    publisher: int, first: int, messages: list[tuple[bytes, bytes]]
) -> None:
    packed = pack(HOST, publisher, first, messages)
    assert unpack(packed) == Envelope(HOST, publisher, first, messages)
    assert host_of(packed) == HOST


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_malformed(packed: bytes) -> None:
    with suppress(Malformed):
        unpack(b"\x01" + packed)
    with suppress(Malformed):
        unpack(packed)


@given(messages=MESSAGES, cut=st.integers(0, 2000), place=st.integers(0, 2000), byte=st.binary())
def test_a_damaged_envelope_raises_nothing_else(
    messages: list[tuple[bytes, bytes]], cut: int, place: int, byte: bytes
) -> None:
    packed = pack(HOST, 1, 2, messages)
    place %= len(packed)
    with suppress(Malformed):
        unpack((packed[:place] + byte + packed[place + 1 :])[: max(0, len(packed) - cut)])


@given(st.lists(st.integers(0, 3000), max_size=60))
def test_a_backlog_keeps_to_its_bound_and_drops_from_the_front(sizes: list[int]) -> None:
    backlog = Backlog(4000)
    dropped = sum(backlog.push(b"", bytes([n]) * size) for n, size in enumerate(sizes, 1))
    kept = [backlog.pop()[1] for _ in range(len(backlog))]
    assert len(kept) + dropped == len(sizes)
    assert kept == [bytes([n]) * size for n, size in enumerate(sizes, 1)][dropped:]
    assert sum(len(body) for body in kept if len(body) < 900) <= 4000
