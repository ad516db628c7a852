"""What the server raises in an application."""


class ClientDisconnected(OSError):
    """A message was sent over a WebSocket that has ended; who lets it pass has not failed."""
