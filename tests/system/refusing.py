"""Run a program whose kernel refuses programs that choose a listener, as some containers do.

``python -m tests.system.refusing PROGRAM…``. The refusal is real: a seccomp filter.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

_NUMBERS: Final = {"x86_64": 54, "aarch64": 208}  # setsockopt
_ATTACH: Final = 51  # SO_ATTACH_REUSEPORT_CBPF
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000
_NO_NEW_PRIVS: Final = 38
_SECCOMP: Final = 22


def refuse() -> None:
    """From now on SO_ATTACH_REUSEPORT_CBPF is not permitted, here and in children."""
    steps = [
        (0x20, 0, 0, 0),  # the system call's number
        (0x15, 0, 3, _NUMBERS[platform.machine()]),
        (0x20, 0, 0, 32),  # its third argument: the option
        (0x15, 0, 1, _ATTACH),
        (0x06, 0, 0, _ERROR | errno.EPERM),
        (0x06, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SECCOMP, 2, program, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    refuse()
    os.execvp(sys.argv[1], sys.argv[1:])
