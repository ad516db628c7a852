"""Bytes that came and went, of all connections of one server.

What TLS adds is not among them. A byte went when it was given to the transport, whether or not
the client takes it.
"""


class Traffic:
    """Two numbers that only grow. Whoever reads or writes adds to them: a call would cost more."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received: int = 0
        """Bytes."""
        self.sent: int = 0
        """Bytes."""
