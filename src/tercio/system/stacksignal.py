"""The signal on which a worker writes its Python stacks, and who may know it: both sides.

faulthandler answers it from C, so it also works while C code holds the interpreter's lock and no
Python handler could run.
"""

import signal
from typing import Final

STACK_SIGNAL: Final[int] = (
    # The C library takes the first two, and SIGRTMIN+0..1 are gone before Python starts.
    signal.SIGRTMIN + 3 if hasattr(signal, "SIGRTMIN") else getattr(signal, "SIGINFO", 0)
)
"""SIGRTMIN+3 on Linux, SIGINFO on macOS."""
