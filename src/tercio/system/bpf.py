"""Tell the kernel which of several listeners on one port gets a new connection.

Sockets that share a port through SO_REUSEPORT are a group, in the order of their `listen`. A
program in classic BPF, attached to any of them, says by its result which member is next. It needs
no privilege (measured as nobody, without capabilities, with no_new_privs), costs a connection
nothing that could be measured, and is replaced in 28 us. A result beyond the group's end makes the
kernel choose by its hash. (socket(7), SO_ATTACH_REUSEPORT_CBPF; Linux 4.5.)
"""

import ctypes
import itertools
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

_ATTACH: Final = 51  # SO_ATTACH_REUSEPORT_CBPF
_DETACH: Final = 68  # SO_DETACH_REUSEPORT_BPF

_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_BYTE: Final = 0x30
_AND: Final = 0x54
_MULTIPLY: Final = 0x24
_SHIFT_RIGHT: Final = 0x74
_MODULO: Final = 0x94
_TO_X: Final = 0x07
_XOR_X: Final = 0xAC
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06

_RANDOM: Final = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_NETWORK: Final = 0xFFF00000  # SKF_NET_OFF: offsets from here are into the IP header

_GOLDEN: Final = 0x9E3779B1
"""2**32 divided by the golden ratio (Knuth, TAOCP 3, 6.4): neighbouring addresses fall apart."""


class Step(NamedTuple):
    """One instruction: an operation, what to skip if it holds or not, an operand."""

    code: int
    skip_if: int
    skip_else: int
    operand: int


Program = tuple[Step, ...]


def weighted(weights: Sequence[int]) -> Program:
    """Choose by chance, in proportion to ``weights``; a member of weight 0 is never chosen.

    Raises `ValueError` if there is nothing to choose from.
    """
    total = sum(weights)
    if total <= 0:
        raise ValueError("every weight is 0")
    steps = [_do(_LOAD_WORD, _RANDOM), _do(_MODULO, total)]
    below = itertools.accumulate(weights)
    for member, (weight, limit) in enumerate(zip(weights, below, strict=True)):
        if weight:
            steps += [Step(_IF_AT_LEAST, 1, 0, limit), _do(_RETURN, member)]
    return (*steps, _do(_RETURN, len(weights)))  # never reached, but a program has to end so


def by_address(members: Sequence[int]) -> Program:
    """Choose by the client's address: the same member for the same IPv4 address or IPv6 /64.

    ``members`` has one for each share of the addresses. As long as its length stays, naming
    another member for a share moves the clients of that share alone.

    Raises `ValueError` if there is nothing to choose from.
    """
    if not members:
        raise ValueError("no member to choose")
    steps = [
        _do(_LOAD_BYTE, _NETWORK),
        _do(_AND, 0xF0),
        Step(_IF_EQUAL, 2, 0, 0x60),
        _do(_LOAD_WORD, _NETWORK + 12),  # the source in IPv4's header
        Step(0x05, 0, 0, 4),  # BPF_JA: past the next four
        _do(_LOAD_WORD, _NETWORK + 8),  # the first half of the source in IPv6's
        _do(_TO_X, 0),
        _do(_LOAD_WORD, _NETWORK + 12),
        _do(_XOR_X, 0),
        _do(_MULTIPLY, _GOLDEN),
        _do(_SHIFT_RIGHT, 16),  # the upper bits are the mixed ones
        _do(_MODULO, len(members)),
    ]
    for share, member in enumerate(members[:-1]):
        steps += [Step(_IF_EQUAL, 0, 1, share), _do(_RETURN, member)]
    return (*steps, _do(_RETURN, members[-1]))


def attach(listener: socket.socket, program: Program) -> None:
    """Let ``program`` choose in the listener's group from now on. Raises `OSError`."""
    if sys.platform != "linux":
        raise OSError("only Linux lets a program choose between listeners")
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    memory = ctypes.create_string_buffer(code)  # alive until the kernel has copied it
    listener.setsockopt(
        socket.SOL_SOCKET, _ATTACH, struct.pack("HP", len(program), ctypes.addressof(memory))
    )


def detach(listener: socket.socket) -> None:
    """Let the kernel choose by its hash again. Raises `OSError`, also if there is no program."""
    listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)


def _do(code: int, operand: int) -> Step:
    return Step(code, 0, 0, operand)
