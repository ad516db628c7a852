import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tercio.errors import ChannelClosed, ProtocolError
from tercio.system.channel import MAX_LINE, MAX_QUEUED, Channel, ChannelFull

PATIENCE = 30.0


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = (Channel(end) for end in socket.socketpair())
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, Channel]]:
    """An end that says what it likes, and the channel that listens to it."""
    speaker, listener = socket.socketpair()
    channel = Channel(listener)
    yield speaker, channel
    speaker.close()
    channel.close()


def receive(channel: Channel, count: int) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    while len(messages) < count:
        assert select.select([channel], [], [], PATIENCE)[0]
        messages += channel.receive()
    return messages


def fill(channel: Channel, message: dict[str, object]) -> int:
    """Send until the channel is full; how many it took."""
    sent = 0
    while channel.pending < MAX_QUEUED:
        channel.send(message)
        sent += 1
    return sent


def test_messages_arrive_in_order_in_both_directions(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.send({"type": "loaded", "files": 3})
    left.send({"type": "ready", "seconds": 0.25})
    right.send({"type": "serve"})
    assert right.receive() == [{"type": "loaded", "files": 3}, {"type": "ready", "seconds": 0.25}]
    assert left.receive() == [{"type": "serve"}]
    assert right.receive() == []
    assert (left.pending, left.dropped, left.closed) == (0, 0, False)


def test_any_text_survives(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    message: dict[str, object] = {"text": 'line\nfeed \0 ü \u2028 "\udcff\U0001f40d', "none": None}
    left.send(message)
    assert right.receive() == [message]


def test_a_message_in_pieces_is_kept_until_it_is_whole(
    raw: tuple[socket.socket, Channel],
) -> None:
    speaker, channel = raw
    line = '{"type":"note","text":"grüße"}\n'.encode()
    for byte in line[:-1]:
        speaker.sendall(bytes([byte]))
        assert channel.receive() == []
    speaker.sendall(line[-1:] + line + line[:5])
    assert len(channel.receive()) == 2
    speaker.sendall(line[5:])
    assert channel.receive() == [{"type": "note", "text": "grüße"}]


def test_a_peer_that_does_not_read_blocks_nobody(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    sent = fill(left, {"type": "dump", "text": "x" * 60_000})  # some are sent in part
    with pytest.raises(ChannelFull, match=str(MAX_QUEUED)):
        left.send({"type": "ready"})
    left.send({"type": "note", "text": "lost"})
    left.send({"type": "blocked", "seconds": 1})
    assert (left.pending, left.dropped) == (MAX_QUEUED, 3)
    assert not left.flush()

    arrived = 0
    while arrived < sent:  # what was taken arrives whole, once there is room
        arrived += len(receive(right, 1))
        left.flush()
    assert (arrived, left.pending) == (sent, 0)
    assert left.flush()
    assert right.receive() == []


def test_the_longest_message_passes_and_a_longer_one_is_refused_at_both_ends(
    raw: tuple[socket.socket, Channel],
) -> None:
    speaker, channel = raw
    longest = b'{"text":"' + b"x" * (MAX_LINE - 12) + b'"}\n'
    assert len(longest) == MAX_LINE
    speaker.setblocking(False)
    assert speaker.send(longest) == MAX_LINE
    assert [len(str(message["text"])) for message in channel.receive()] == [MAX_LINE - 12]
    channel.send({"text": "x" * (MAX_LINE - 12)})
    with pytest.raises(ProtocolError, match="type 'dump' is longer than 98304 bytes"):
        channel.send({"type": "dump", "text": "x" * MAX_LINE})
    assert speaker.send(b"x" + longest) == MAX_LINE + 1
    with pytest.raises(ProtocolError, match="longer than 98304 bytes"):
        channel.receive()


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    raw: tuple[socket.socket, Channel],
) -> None:
    speaker, channel = raw
    speaker.sendall(b"x" * MAX_LINE)
    with pytest.raises(ProtocolError, match="longer"):
        channel.receive()


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"\n",
        b'{"type": "ready"\n',
        b'{"text": "\xff"}\n',
        b"\0\1\2\n",
        b"[" * 50_000 + b"\n",
        b'{"number": ' + b"9" * 10_000 + b"}\n",
    ],
    ids=["text", "nothing", "cut", "not utf-8", "control", "deep", "huge number"],
)
def test_what_is_no_json_is_a_protocol_error(
    raw: tuple[socket.socket, Channel], line: bytes
) -> None:
    speaker, channel = raw
    speaker.sendall(line)
    with pytest.raises(ProtocolError, match="not JSON"):
        channel.receive()


@pytest.mark.parametrize("line", [b"[1]\n", b'"ready"\n', b"7\n", b"null\n"])
def test_what_is_no_object_is_a_protocol_error(
    raw: tuple[socket.socket, Channel], line: bytes
) -> None:
    speaker, channel = raw
    speaker.sendall(line)
    with pytest.raises(ProtocolError, match="not a JSON object"):
        channel.receive()


def test_a_message_that_json_cannot_say_is_the_senders_error(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    for value in (object(), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            left.send({"value": value})
    left.send({"value": 1})
    assert right.receive() == [{"value": 1}]


def test_the_end_of_the_peer_closes(raw: tuple[socket.socket, Channel]) -> None:
    speaker, channel = raw
    speaker.sendall(b'{"type":"failed"}\n{"type":"cut sh')
    speaker.close()
    assert channel.receive() == [{"type": "failed"}]
    assert channel.closed
    assert channel.receive() == []
    with pytest.raises(ChannelClosed):
        channel.send({"type": "serve"})
    assert channel.pending == 0


def test_the_last_words_of_the_peer_outlive_a_failed_send(
    raw: tuple[socket.socket, Channel],
) -> None:
    speaker, channel = raw
    channel.send({"type": "serve"})  # never read: the peer's end then resets, not only closes
    speaker.sendall(b'{"type":"failed","stage":"import"}\n')
    speaker.close()
    with pytest.raises(ChannelClosed):
        channel.send({"type": "drain"})
    assert channel.closed
    assert channel.receive() == [{"type": "failed", "stage": "import"}]
    assert channel.receive() == []


def test_a_reset_closes_like_an_end(raw: tuple[socket.socket, Channel]) -> None:
    speaker, channel = raw
    channel.send({"type": "serve"})
    speaker.close()
    assert channel.receive() == []
    assert channel.closed


def test_a_flush_finds_out_that_the_peer_is_gone(raw: tuple[socket.socket, Channel]) -> None:
    speaker, channel = raw
    fill(channel, {"type": "dump", "text": "x" * 10_000})
    speaker.close()
    assert channel.flush()
    assert (channel.closed, channel.pending) == (True, 0)


def test_a_closed_channel_is_quiet(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.close()
    left.close()
    assert left.receive() == []
    assert left.flush()
    assert left.fileno() == -1
    with pytest.raises(ChannelClosed):
        left.send({"type": "serve"})
    assert right.receive() == []
    assert right.closed


def test_a_flood_is_received_in_bounded_portions(raw: tuple[socket.socket, Channel]) -> None:
    speaker, channel = raw
    line = b'{"text":"' + b"x" * 8_000 + b'"}\n'
    total = 1000
    flood = threading.Thread(target=speaker.sendall, args=(line * total,))
    flood.start()
    portions: list[int] = []
    while sum(portions) < total:
        assert select.select([channel], [], [], PATIENCE)[0]
        portions.append(len(channel.receive()))
    flood.join(PATIENCE)
    assert sum(portions) == total
    assert max(portions) <= 4 * MAX_LINE // len(line) + 1


def test_two_threads_that_send_at_once_keep_their_lines_whole(
    pair: tuple[Channel, Channel],
) -> None:
    left, right = pair
    total = 1500
    failures: list[BaseException] = []

    def send(sender: int) -> None:
        try:
            for number in range(total):
                message = {"sender": sender, "number": number, "text": "x" * (number * 37 % 5000)}
                while True:
                    try:
                        left.send(message)
                        break
                    except ChannelFull:
                        select.select([], [left], [], PATIENCE)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(2)]
    for thread in threads:
        thread.start()
    numbers: list[list[object]] = [[], []]
    while len(numbers[0]) + len(numbers[1]) < 2 * total and not failures:
        if not any(thread.is_alive() for thread in threads):
            left.flush()
        assert select.select([right], [], [], PATIENCE)[0]
        for message in right.receive():
            number = message["number"]
            assert isinstance(number, int)
            assert len(str(message["text"])) == number * 37 % 5000
            numbers[int(str(message["sender"]))].append(number)
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert numbers == [list(range(total))] * 2


def test_a_peer_that_is_gone_does_not_kill_an_application_that_resets_sigpipe() -> None:
    code = (
        "import signal, socket\n"
        "from tercio.errors import ChannelClosed\n"
        "from tercio.system.channel import Channel\n"
        "left, right = socket.socketpair()\n"
        "right.close()\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "try:\n Channel(left).send({})\n"
        "except ChannelClosed:\n raise SystemExit(5)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 5
