"""A small honest primary: holds a real name in a real directory and answers on a real socket."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tercio.system.rundir import RunDir

Message = dict[str, object]
Answer = Callable[[Message], Iterator[Message | bytes]]


@dataclass
class Primary:
    """What it was asked, and how it answers: messages, or bytes as they are."""

    answer: Answer
    asked: list[Message] = field(default_factory=list)


def always(*messages: Message | bytes) -> Answer:
    """The same messages to whatever is asked."""

    def answer(request: Message) -> Iterator[Message | bytes]:
        yield from messages

    return answer


@contextmanager
def running(directory: Path, name: str, answer: Answer) -> Iterator[Primary]:
    """A cluster of that name, until the end of the block."""
    directory.mkdir(mode=0o700, exist_ok=True)
    claim = RunDir(str(directory)).claim(name)
    claim.write_info({"app": "shop:app"})
    primary = Primary(answer)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(claim.control_path)
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, primary))
        thread.start()
        try:
            yield primary
        finally:
            # Wakes accept(), which close() alone would not.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            claim.release()


def _serve(listener: socket.socket, primary: Primary) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as stream:
            line = stream.readline()
            if not line:
                continue
            request = json.loads(line)
            primary.asked.append(request)
            try:
                for message in primary.answer(request):
                    if not isinstance(message, bytes):
                        message = json.dumps(message).encode() + b"\n"
                    connection.sendall(message)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client had enough, as `events | head` has
