"""The few calls of the C library that Python does not wrap."""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_MADV_DONTNEED = 4
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int) -> bool:
    """Call ``prctl``; False where the platform has none or the kernel refuses the option."""
    if sys.platform != "linux":
        return False
    # Longs, named as such: prctl is variadic and reads five whole words on every architecture.
    words = [ctypes.c_ulong(argument), *(ctypes.c_ulong(0) for _ in range(3))]
    return bool(_libc.prctl(option, *words) == 0)


def trim() -> None:
    """Give memory that was freed back to the system, where the C library can."""
    with contextlib.suppress(AttributeError):
        _libc.malloc_trim(ctypes.c_size_t(0))


def let_go(address: int, size: int) -> None:
    """Unmap clean pages of a file from this process; they are mapped again when they are used.

    What was changed in them would be lost.
    """
    if sys.platform == "linux":
        _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), _MADV_DONTNEED)


def keep_large_blocks() -> None:
    """Have the C library keep the memory of blocks of some megabytes for the next of them.

    glibc gives them back at once, and the kernel makes each page anew: for messages of 1 MB that is
    three quarters of all that they cost. At most 32 MiB stay. Does nothing with another library.
    """
    with contextlib.suppress(AttributeError):
        _libc.mallopt(_M_MMAP_THRESHOLD, 16 << 20)
        _libc.mallopt(_M_TRIM_THRESHOLD, 32 << 20)


def handle_with_alarm(number: signal.Signals) -> None:
    """Make the C function ``alarm`` itself the handler of a signal.

    The kernel then calls ``alarm(number)``, and SIGALRM ends the process that many seconds later.
    No bytecode takes part, so this also works while C code holds the GIL for ever.
    """
    install = _libc.signal
    install.argtypes = [ctypes.c_int, ctypes.c_void_p]
    install.restype = ctypes.c_void_p
    previous = install(number, ctypes.cast(_libc.alarm, ctypes.c_void_p))
    if previous == ctypes.c_void_p(-1).value:  # SIG_ERR
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
