"""A lock that one task of all processes has at a time."""

from tercio.state.lease import Lease


class Lock(Lease):
    """``async with state.lock("invoice-7") as lock:``; waits for its turn, renews by itself.

    Raises `LockTaken` when it was not free in time. When it is lost the body is cancelled, and
    `LockLost` comes out of the ``async with``.
    """

    _what = "lock"
