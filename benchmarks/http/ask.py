"""One request over a plain socket: to see that a server serves, and to hold idle connections."""

import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator


class Wrong(Exception):
    """An answer that is none, or another one than expected."""


def open_connection(port: int, tls: bool = False) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    if not tls:
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def get(connection: socket.socket, path: str) -> bytes:
    """The body of a 200 answer that has a Content-Length."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        if end:
            if not head.startswith(b"HTTP/1.1 200"):
                raise Wrong(head.decode("latin-1"))
            size = int(head.lower().partition(b"content-length:")[2].split()[0])
            if len(body) >= size:
                return body
        if not (part := connection.recv(65536)):
            raise Wrong("closed before the end of the answer")
        received += part


def ask(port: int, path: str, *, tls: bool = False) -> bytes:
    with open_connection(port, tls) as connection:
        return get(connection, path)


@contextlib.contextmanager
def held(port: int, count: int, path: str = "/") -> Iterator[list[socket.socket]]:
    """Idle connections, each of which made one request."""
    connections = []
    try:
        for _ in range(count):
            connections.append(open_connection(port))
            get(connections[-1], path)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def lost(connections: list[socket.socket]) -> int:
    """How many of the connections the server has closed."""
    gone = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            connection.recv(1, socket.MSG_PEEK)
            gone += 1
        except BlockingIOError:
            pass
        except OSError:
            gone += 1
        connection.settimeout(10)
    return gone


def allow_descriptors() -> None:
    """For this process and what it starts: thousands of connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
