"""A parent of the textbook's kind: it opens a port, forks workers that accept from it, and waits.

What it does about a worker that ended, or about an order to reload, is up to the programs of
Q22 and Q25. It is as small as it can be, and no example to follow.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Work = Callable[[socket.socket, Callable[[], None]], None]
"""What a worker does with the port; it calls the second when it serves."""


def listen(port: int = 0) -> socket.socket:
    """The port that all workers accept from."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    os.set_inheritable(listener.fileno(), True)
    return listener


def fork(work: Work, listener: socket.socket) -> tuple[int, int]:
    """Start a worker; its number, and a descriptor that ends when it serves or has ended."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, told
    code = 1
    try:
        os.close(told)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        work(listener, lambda: _say_that_it_serves(tell))
        code = 0
    except BaseException as error:
        os.write(2, f"worker {os.getpid()}: {error!r}\n".encode())
    finally:
        os._exit(code)


def _say_that_it_serves(tell: int) -> None:
    os.write(tell, b"1")
    os.close(tell)


def serves(told: int) -> bool:
    """Wait until a worker serves; False if it ended before."""
    try:
        return os.read(told, 1) == b"1"
    finally:
        os.close(told)


def serve(listener: socket.socket, ready: Callable[[], None], boot: float = 0.0) -> None:
    """Be a worker: answer each request with this process' number, on kept connections too."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = str(os.getpid()).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    time.sleep(boot)  # stands for the import of an application
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.close()
    server.socket = listener
    server.server_address = listener.getsockname()[:2]
    ready()
    server.serve_forever()
