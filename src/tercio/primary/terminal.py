"""Whether the terminal that started the cluster is still there."""

import os


def has_terminal() -> bool:
    """Whether a controlling terminal is there; one that hung up cannot be opened."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    os.close(descriptor)
    return True
