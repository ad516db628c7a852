"""Q30, wrong twice: a parent that serves the port, too.

python -m examples.problems.q30_naive             the workers cannot have the port
python -m examples.problems.q30_naive --share     they can, all share it, and so does anybody else

Prints what happened, as JSON.
"""

import argparse
import json
import os
import socket
import subprocess
import sys

WORKERS = 2


def listen(port: int, *, share: bool) -> socket.socket:
    """Listen on the port; with ``share`` beside others who do."""
    return socket.create_server(("127.0.0.1", port), reuse_port=share)


def worker(port: int, share: bool) -> str:
    """Try to listen, in a process of its own; what it says."""
    code = (
        "import sys; from examples.problems.q30_naive import listen\n"
        f"try: listen({port}, share={share})\n"
        "except OSError as error: print(error.strerror)\n"
        "else: print('listens')"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def a_stranger_shares(port: int, connections: int = 100) -> int:
    """How many of so many connections a program gets that nobody asked to serve this port."""
    theirs = 0
    with listen(port, share=True) as stranger:
        stranger.settimeout(0.05)
        for _ in range(connections):
            with socket.create_connection(("127.0.0.1", port)):
                try:
                    stranger.accept()[0].close()
                    theirs += 1
                except TimeoutError:
                    pass  # it went to the one who was first
    return theirs


def main() -> None:
    """Run one of them, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", action="store_true")
    options = parser.parse_args()
    with listen(0, share=options.share) as listener:
        port: int = listener.getsockname()[1]
        found: dict[str, object] = {
            "parent": os.getpid(),
            "workers": [worker(port, options.share) for _ in range(WORKERS)],
        }
        if options.share:
            found["connections_of_a_stranger"] = a_stranger_shares(port)
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
