"""Lines go out whole, are counted when they cannot, and nobody waits for a stuck reader."""

import fcntl
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tercio.system.lines import LINE_BYTES, LineWriter, escape

PATIENCE = 30.0  # seconds

NOTICE = re.compile(r"(\d+) log lines? dropped")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def pipe(stack: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    return reading, writing


def terminal(stack: ExitStack) -> tuple[int, int]:
    reading, writing = pty.openpty()
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    return reading, writing


def socket_pair(stack: ExitStack) -> tuple[int, int]:
    ends = socket.socketpair()
    for end in ends:
        stack.enter_context(end)
    return ends[0].fileno(), ends[1].fileno()


def open_writer(stack: ExitStack, fd: int, limit: int = 1000) -> LineWriter:
    writer = LineWriter(fd, limit)
    stack.callback(writer.close)
    return writer


def waiting_writer(stack: ExitStack, fd: int, limit: int) -> LineWriter:
    """A writer that needs its thread: a socket made under a default time-out."""
    socket.setdefaulttimeout(5)
    try:
        return open_writer(stack, fd, limit)
    finally:
        socket.setdefaulttimeout(None)


def read_until(fd: int, enough: Callable[[list[str]], bool]) -> list[str]:
    data = b""
    while not (data.endswith(b"\n") and enough(lines_of(data))):
        assert select.select([fd], [], [], PATIENCE)[0], f"nothing more after {data[-200:]!r}"
        data += os.read(fd, 65536)
    return lines_of(data)


def lines_of(data: bytes) -> list[str]:
    return data.decode().replace("\r\n", "\n").split("\n")[:-1]


def reported(lines: list[str]) -> int:
    return sum(int(found[1]) for line in lines if (found := NOTICE.fullmatch(line)))


def numbered(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("line ")]


def is_blocking(fd: int) -> bool:
    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


@pytest.mark.parametrize("kind", [pipe, terminal, socket_pair])
def test_a_stuck_reader_costs_lines_but_no_time(
    stack: ExitStack, kind: Callable[[ExitStack], tuple[int, int]]
) -> None:
    reading, writing = kind(stack)
    writer = open_writer(stack, writing, limit=50)

    for number in range(3000):
        writer.write(f"line {number} {'x' * 300}")  # would hang for ever if it waited

    assert is_blocking(writing)
    assert writer.pending <= 50
    assert writer.dropped > 0
    # Nothing else is logged: what waits, and the notice, arrive all the same.
    lines = read_until(reading, lambda found: len(numbered(found)) + reported(found) == 3000)
    assert all(re.fullmatch(r"line \d+ x{300}", line) or NOTICE.fullmatch(line) for line in lines)
    assert writer.dropped == reported(lines)
    assert sorted(set(numbered(lines))) == numbered(lines)
    assert writer.pending == 0
    writer.write("line 3000 back")
    assert read_until(reading, lambda found: bool(found)) == ["line 3000 back"]


def numbered_lines(first: int, end: int, padding: str = "") -> list[str]:
    return [f"line {number} {padding}\n" for number in range(first, end)]


def test_lines_that_are_added_wait_for_a_push_or_for_another_line(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    writer = open_writer(stack, writing)

    writer.lines += ["line 0\n", "line 1\n"]
    assert writer.pending == 2
    writer.write("line 2")
    assert read_until(reading, lambda found: len(found) == 3) == ["line 0", "line 1", "line 2"]
    writer.lines.append("line 3\n")
    writer.push()
    assert read_until(reading, lambda found: len(found) == 1) == ["line 3"]
    writer.lines.append("line 4\n")
    assert writer.flush()
    assert read_until(reading, lambda found: len(found) == 1) == ["line 4"]
    assert (writer.pending, writer.dropped) == (0, 0)


@pytest.mark.parametrize("kind", [pipe, socket_pair])  # a terminal takes any part of a line
def test_added_lines_stay_whole_whoever_else_writes(
    stack: ExitStack, kind: Callable[[ExitStack], tuple[int, int]]
) -> None:
    reading, writing = kind(stack)
    writer = open_writer(stack, writing, limit=100_000)
    others = open_writer(stack, writing, limit=100_000)

    for number in range(0, 4000, 40):
        writer.lines += numbered_lines(number, number + 40, "x" * (number % 300))
        writer.push()
        others.write("another line")
    lines = read_until(reading, lambda found: len(numbered(found)) == 4000 and len(found) == 4100)
    assert numbered(lines) == [*range(4000)]
    assert all(re.fullmatch(r"line \d+ x*|another line", line) for line in lines)


@pytest.mark.parametrize("kind", [pipe, terminal, socket_pair])
def test_added_lines_are_counted_when_nobody_reads(
    stack: ExitStack, kind: Callable[[ExitStack], tuple[int, int]]
) -> None:
    reading, writing = kind(stack)
    writer = open_writer(stack, writing, limit=50)

    for number in range(0, 3000, 100):
        writer.lines += numbered_lines(number, number + 100, "x" * 300)
        writer.push()
    assert writer.pending <= 50
    assert writer.dropped > 0
    lines = read_until(reading, lambda found: len(numbered(found)) + reported(found) == 3000)
    assert all(re.fullmatch(r"line \d+ x{300}", line) or NOTICE.fullmatch(line) for line in lines)
    assert writer.dropped == reported(lines)
    assert sorted(set(numbered(lines))) == numbered(lines)


def test_added_lines_are_counted_when_their_reader_is_gone(stack: ExitStack) -> None:
    reading, writing = socket.socketpair()
    stack.enter_context(writing)
    writer = open_writer(stack, writing.fileno())
    reading.close()

    writer.lines += numbered_lines(0, 100)
    writer.push()
    assert (writer.dropped, writer.pending) == (100, 0)
    writer.lines += numbered_lines(0, 10)
    writer.close()
    assert (writer.dropped, writer.pending) == (110, 0)


def test_added_lines_reach_a_descriptor_that_needs_a_thread(stack: ExitStack) -> None:
    reading, writing = socket_pair(stack)
    writer = waiting_writer(stack, writing, limit=50)

    writer.lines += numbered_lines(0, 20)
    writer.push()
    found = read_until(reading, lambda found: len(found) == 20)
    assert numbered(found) == [*range(20)]


def test_a_thread_waits_where_the_descriptor_cannot_be_opened_again(stack: ExitStack) -> None:
    reading, writing = socket_pair(stack)
    writer = waiting_writer(stack, writing, limit=50)

    written = 0
    while writer.flush(0.02):  # until the socket is full
        writer.write("".join(f"line {written + index} {'x' * 300}\n" for index in range(50)))
        written += 50
    writer.write("".join(f"line {written + index}\n" for index in range(100)))
    written += 100

    assert is_blocking(writing)
    assert writer.pending <= 50
    lines = read_until(reading, lambda found: len(numbered(found)) + reported(found) == written)
    assert writer.dropped == reported(lines) > 0
    assert sorted(set(numbered(lines))) == numbered(lines)
    assert writer.flush(PATIENCE)


def test_the_notice_stands_where_the_lines_are_missing(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    filler = b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, filler)
    writer = open_writer(stack, writing, limit=2)

    for number in range(5):
        writer.write(f"line {number}")
    assert (writer.pending, writer.dropped) == (2, 3)

    left = len(filler)
    while left:
        left -= len(os.read(reading, left))
    lines = read_until(reading, lambda found: reported(found) == 3)
    assert lines == ["line 0", "line 1", "3 log lines dropped"]


def test_flush_waits_for_the_reader_up_to_its_limit(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    capacity = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, b"x" * capacity)
    writer = open_writer(stack, writing)
    writer.write("last words")

    assert not writer.flush()
    assert not writer.flush(0.02)
    reader = threading.Thread(target=os.read, args=(reading, capacity))
    reader.start()
    assert writer.flush(PATIENCE)
    reader.join()
    assert read_until(reading, bool) == ["last words"]


@pytest.mark.parametrize("kind", [pipe, terminal, socket_pair])
def test_a_reader_that_is_gone_is_counted_not_raised(
    kind: Callable[[ExitStack], tuple[int, int]],
) -> None:
    with ExitStack() as stack:
        reading, writing = kind(stack)
        writer = open_writer(stack, writing)
        writer.write("line 0")
        with open(os.devnull, "rb") as other:
            os.dup2(other.fileno(), reading)  # which closes the only reading end

        for number in range(10):
            writer.write(f"line {number}")

        assert writer.dropped == 10
        assert writer.pending == 0


def test_a_pipe_whose_reader_was_gone_before_is_counted_too(stack: ExitStack) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stack.callback(os.close, writing)
    writer = open_writer(stack, writing)
    writer.write("one\ntwo")
    assert writer.flush(PATIENCE)
    assert writer.dropped == 2


def test_a_named_pipe_recovers_with_its_next_reader(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "log"
    os.mkfifo(path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY)
    stack.callback(os.close, writing)
    writer = open_writer(stack, writing)
    writer.write("line 0")
    os.close(first)
    writer.write("line 1")
    assert writer.dropped == 1

    second = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stack.callback(os.close, second)
    writer.write("line 2")
    lines = read_until(second, lambda found: "line 2" in found)
    assert lines == ["line 0", "1 log line dropped", "line 2"]


def test_a_file_gets_every_line_at_the_place_others_left_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        file.write(b"before\n")
        writer = LineWriter(file.fileno())
        for number in range(2000):
            writer.write(f"line {number}")
        file.write(b"after\n")
        writer.close()
    expected = ["before", *(f"line {number}" for number in range(2000)), "after"]
    assert expected == path.read_text().splitlines()
    assert writer.dropped == 0


def test_a_full_disk_is_counted_and_its_end_reported() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LineWriter(full.fileno())
        writer.write("lost")
        assert (writer.dropped, writer.pending) == (1, 0)
        writer.close()


def test_a_number_that_was_not_open_is_never_written_to(tmp_path: Path) -> None:
    with (tmp_path / "probe").open("wb") as probe:
        number = probe.fileno()
    writer = LineWriter(number)
    database = os.open(tmp_path / "database", os.O_RDWR | os.O_CREAT)
    os.dup2(database, number)
    try:
        writer.write("text")
        assert writer.flush()
        assert (writer.dropped, writer.is_terminal) == (1, False)
        assert (tmp_path / "database").read_bytes() == b""
    finally:
        for fd in {database, number}:
            os.close(fd)


def test_closing_the_callers_descriptor_does_not_end_the_writer(stack: ExitStack) -> None:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    writer = open_writer(stack, writing)
    os.close(writing)
    writer.write("still here")
    assert read_until(reading, bool) == ["still here"]


def test_what_is_pending_at_close_is_counted(stack: ExitStack) -> None:
    _, writing = pipe(stack)
    os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    writer = LineWriter(writing)
    writer.write("one\ntwo")
    writer.close()
    writer.write("three")
    assert (writer.dropped, writer.pending) == (3, 0)


def test_control_characters_become_visible(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    open_writer(stack, writing).write("\x1b[31mred\r\0\t\x7f\x9b2J\u202eabc\u2028é\ud800\nnext\n")
    lines = read_until(reading, lambda found: len(found) == 2)
    assert lines == [
        r"\x1b[31mred\r\x00" + "\t" + r"\x7f\x9b2J\u202eabc\u2028é\ud800",
        "next",
    ]


def test_own_colours_pass_and_do_not_leak_out_of_a_cut_line(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    writer = open_writer(stack, writing)
    writer.write("\x1b[1m" + escape("a\x1bb") + "\x1b[0m", escaped=True)
    writer.write("\x1b[1m" + "x" * 10_000 + "\x1b[0m", escaped=True)
    short, long = read_until(reading, lambda found: len(found) == 2)
    assert short == "\x1b[1ma\\x1bb\x1b[0m"
    assert long.endswith("bytes cut)\x1b[0m")


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_a_line_that_is_too_long_is_cut_between_two_characters(
    stack: ExitStack, character: str
) -> None:
    reading, writing = pipe(stack)
    open_writer(stack, writing).write(character * 20_000)
    (line,) = read_until(reading, bool)
    assert len(line.encode()) < LINE_BYTES
    found = re.fullmatch(rf"({character}+)\.\.\. \((\d+) bytes cut\)", line)
    assert found
    assert len((character * 20_000).encode()) == len(found[1].encode()) + int(found[2])


def test_threads_do_not_mix_their_lines(stack: ExitStack) -> None:
    reading, writing = pipe(stack)
    writer = open_writer(stack, writing, limit=5000)

    def work(name: str) -> None:
        for number in range(500):
            writer.write(f"{name} {number} {name * 100}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    lines = read_until(reading, lambda found: len(found) == 2000)
    for thread in threads:
        thread.join()
    for name in "abcd":
        mine = [line for line in lines if line.startswith(name)]
        assert [f"{name} {number} {name * 100}" for number in range(500)] == mine


WRITE_MANY = """
import sys
from tercio.system.lines import LineWriter
writer = LineWriter(1)
for number in range(2000):
    writer.write(f"{sys.argv[1]} {number} " + sys.argv[1] * (number % 3000))
assert writer.flush(30)
print(writer.dropped, file=sys.stderr)
"""


def test_processes_that_share_a_pipe_do_not_mix_their_lines(stack: ExitStack) -> None:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    children = [
        stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", WRITE_MANY, name],
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        for name in "ab"
    ]
    os.close(writing)
    data = b""
    while chunk := os.read(reading, 65536):
        data += chunk
    dropped = sum(int(child.communicate()[1]) for child in children)
    lines = lines_of(data)
    whole = [
        line
        for line in lines
        if (parts := line.split(" ", 2))[0] in "ab"
        and parts[2] == parts[0] * (int(parts[1]) % 3000)
    ]
    assert len(lines) == len(whole) + sum(1 for line in lines if NOTICE.fullmatch(line))
    assert len(whole) + dropped == 4000
    assert dropped == reported(lines)


FORK = """
import os, sys, warnings
from tercio.system.lines import LineWriter
warnings.simplefilter("ignore")  # 3.12: "this process is multi-threaded"; that is what is tested
reading, writing = os.pipe()
os.set_blocking(writing, False)
size = os.write(writing, b"x" * 10_000_000)
os.set_blocking(writing, True)
writer = LineWriter(writing)
writer.write("parent")
pid = os.fork()
if pid == 0:
    assert writer.pending == 0
    writer.write("child")
    os._exit(0 if writer.flush(30) else 1)
while size:
    size -= len(os.read(reading, size))
assert os.waitpid(pid, 0)[1] == 0
assert writer.flush(30)
lines = sorted(os.read(reading, 65536).split())
assert lines == [b"child", b"parent"], lines
"""


def test_a_fork_does_not_write_its_parents_lines_again() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
