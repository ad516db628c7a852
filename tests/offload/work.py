"""Functions that tests carry out in other processes."""

import contextvars
import os
import signal
import socket
import sys
import time
from pathlib import Path

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def add(a: int, b: int = 0) -> int:
    return a + b


def pid() -> int:
    return os.getpid()


def current_user() -> str:
    return who.get()


def fail(text: str) -> None:
    raise KeyError(text)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    sys.exit(3)


def sleep_for(seconds: float) -> None:
    time.sleep(seconds)


def tell_and_hold(address: str, text: str) -> int:
    """Connect, say something, and stay until the other side closes."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(address)
        peer.sendall(f"{os.getpid()} {text}\n".encode())
        peer.recv(1)
    return os.getpid()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def say(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)
    os.write(2, b"x" * 200_000)  # more than a pipe holds


def unsendable() -> object:
    return lambda: 1


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance

    def doubled(self) -> int:
        return self.balance * 2
