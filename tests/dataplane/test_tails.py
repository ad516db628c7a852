"""The last of what a worker wrote: whole lines, in order, and told when some are lost."""

import os
from collections.abc import Iterator

import pytest

from tercio.dataplane.tails import SIZE, Tail, Tails


@pytest.fixture
def tails() -> Iterator[Tails]:
    made = Tails.create(4)
    yield made
    made.close()


@pytest.fixture
def tail(tails: Tails) -> Iterator[Tail]:
    made = Tail(tails.descriptor, 1)
    made.begin(2, 7)
    yield made
    made.close()


def test_what_was_written_is_read_once_and_in_order(tails: Tails, tail: Tail) -> None:
    (reader,) = tails.of_slot(2)
    assert reader.incarnation == 7
    tail.append(b"one\n")
    first = reader.read()
    tail.append(b"two\n")
    second = reader.read(first.end)
    assert (first.text, second.text) == (b"one\n", b"two\n")
    assert first.lost == second.lost == 0
    assert reader.read(second.end).text == b""


def test_of_too_much_the_newest_whole_lines_stay(tails: Tails, tail: Tail) -> None:
    lines = [b"%07d\n" % number for number in range(3 * SIZE // 8 + 1)]
    for start in range(0, len(lines), 100):
        tail.append(b"".join(lines[start : start + 100]))
    (reader,) = tails.of_slot(2)
    piece = reader.read()
    found = piece.text.splitlines(keepends=True)
    assert lines[-len(found) :] == found
    assert len(piece.text) > SIZE - 16
    assert piece.lost == len(lines) * 8 - len(piece.text)


def test_more_than_there_is_room_for_at_once(tails: Tails, tail: Tail) -> None:
    tail.append(b"x" * (2 * SIZE) + b"\nend\n")
    (reader,) = tails.of_slot(2)
    assert reader.read().text == b"end\n"


def test_the_last_words_of_a_dead_process_are_kept(tails: Tails, tail: Tail) -> None:
    tail.append(b"goodbye\n")
    tails.release(1)
    assert list(tails.of_slot(2)) == []
    words = tails.last[2]
    assert (words.incarnation, words.text, words.end) == (7, b"goodbye\n", 8)


def test_a_child_that_a_worker_forks_adds_nothing(tails: Tails, tail: Tail) -> None:
    tail.append(b"mine\n")
    if (pid := os.fork()) == 0:
        tail.append(b"not mine\n")
        os._exit(0)
    os.waitpid(pid, 0)
    (reader,) = tails.of_slot(2)
    assert reader.read().text == b"mine\n"


def test_a_worker_that_writes_nonsense_there_harms_nobody(tails: Tails, tail: Tail) -> None:
    (reader,) = tails.of_slot(2)
    for words in ((0, 2**64 - 1), (2**64 - 1, 5), (2**63, 2**63 + 9)):
        tail._words[0], tail._words[1] = words
        assert len(reader.read().text) <= SIZE
    tail._words[2] = 2**40  # a slot that there is not
    tails.release(1)
    assert tails.last == {}
