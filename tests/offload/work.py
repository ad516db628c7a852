"""Functions that tests carry out in other processes."""

import contextvars
import os
import signal
import socket
import subprocess
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


def run_programs() -> list[str]:
    """What a call may do: programs that print, read and end, and C code that writes."""
    os.system("echo from a shell")
    os.write(1, b"from C code\n")
    said = subprocess.run(["echo", "hello"], capture_output=True, text=True, check=True).stdout
    subprocess.run(["echo", "not captured"], check=True)
    read = subprocess.run(["cat"], capture_output=True, text=True, check=True, timeout=30).stdout
    return [said.strip(), read]


class TwoArguments(Exception):
    """Can be pickled, and not made again from what was."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def fail_with_two() -> None:
    raise TwoArguments("this", "that")


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance

    def doubled(self) -> int:
        return self.balance * 2
