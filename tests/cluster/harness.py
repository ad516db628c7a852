"""A real cluster for a test: `tercio run` as a child process, its events, and its last words."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = float(os.environ.get("TERCIO_TEST_PATIENCE", "30"))
"""Seconds that a wait may take. A slow machine makes a test longer, never red."""

MARK = "TEST_CLUSTER_MARK"
"""In the environment of every process of a cluster, so that orphans are found too."""

Event = dict[str, Any]

DEFAULT_APP = """
import os

RELEASE = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = f"{RELEASE} {os.getpid()}".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""

QUICK = (
    "--soak", "0.3", "--trial", "0.3", "--drain-quiet", "0.3", "--sample-interval", "0.2",
)  # fmt: skip
"""Options that make seat changes short. Each default is tested once, in tests of its own."""


@dataclass(frozen=True)
class Answer:
    """What a single request got."""

    status: int
    text: str

    @property
    def pid(self) -> int:
        return int(self.text.split()[1])


def is_free(port: int) -> bool:
    """Whether a new cluster could listen on the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Cluster:
    """One `tercio run`. Use it through the `cluster` fixture, which looks for leftovers."""

    def __init__(self, directory: Path, mark: str) -> None:
        self.directory = directory
        self.runtime = directory / "run"
        self.mark = mark
        self.events: list[Event] = []
        self.lines: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._is_silent = False  # its output was closed
        self._is_up = False
        self.reading = threading.Event()  # cleared: what it writes is read no more
        self.reading.set()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))},
            "TERCIO_ALLOW_ROOT": "1",  # tests run as whoever calls them
            MARK: mark,
            # A file that is overwritten within a second may keep its time and size.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    # Starting

    def write_app(self, text: str = DEFAULT_APP, name: str = "app.py") -> Path:
        """Write the app's file, in place."""
        path = self.directory / name
        path.write_text(text)
        return path

    def release(self, name: str) -> str:
        """The default app's text with another release name."""
        return DEFAULT_APP.replace('"one"', repr(name))

    def start(
        self,
        *options: str,
        app: str = "app:app",
        wait: str = "ClusterReady",
        prefix: Sequence[str] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> "Cluster":
        """Run `tercio run APP --port 0 …` and wait for an event of kind ``wait`` ("" for none).

        ``prefix`` is a command that runs ours, such as ``strace``.
        """
        if not (self.directory / "app.py").exists():
            self.write_app()
        where = (
            []
            if any(o.startswith(("--bind", "--uds", "--fd", "--port")) for o in options)
            else ["--port", "0"]
        )
        command = [
            *prefix, sys.executable, "-m", "tercio", "run", app, *where,
            "--runtime-dir", str(self.runtime), *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._thread(self._read_lines)
        if wait:
            self.follow()
            self.wait(wait)
        return self

    def start_again(self, *options: str) -> "Cluster":
        """Start once more in the same place after the end; events and lines begin anew."""
        assert self.has_ended()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self._threads.clear()
        self.events.clear()
        self.lines.clear()
        self._is_silent = False
        return self.start(*options)

    def follow(self, *, is_up: bool = False) -> None:
        """Collect events from now on, those of the past included; `start` does it.

        ``is_up``: it is known to run, although its output may not say so.
        """
        self._is_up = is_up
        self._thread(self._follow)

    def _thread(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _read_lines(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
            self.reading.wait()
        with self._changed:
            self._is_silent = True
            self._changed.notify_all()

    def _follow(self) -> None:
        """Collect events over the control socket, from the first one on."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._is_up
                    or any("Tercio serves" in line for line in self.lines)
                    or self._is_silent
                ),
                PATIENCE,
            )
        try:
            for reply in self.converse("events", since=0, follow=True):
                if "event" in reply:
                    with self._changed:
                        self.events.append(reply["event"])
                        self._changed.notify_all()
        except (OSError, IndexError):
            pass  # the primary is gone; what it said is in `lines`
        with self._changed:
            self._changed.notify_all()

    # Looking

    @property
    def pid(self) -> int:
        """The primary."""
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        """The port of the first listener."""
        match = re.search(r":(\d+)$", self.first("ClusterStarted")["urls"][0])
        assert match is not None
        return int(match.group(1))

    @property
    def control(self) -> Path:
        """The control socket."""
        for path in self.runtime.glob("*/control.sock"):
            return path
        raise FileNotFoundError(f"no control socket in {self.runtime}")

    def has_ended(self) -> bool:
        """Whether the primary is gone."""
        return self.process is None or self.process.poll() is not None

    def kinds(self) -> list[str]:
        """The kinds of all events so far."""
        return [event["kind"] for event in self.events]

    def of(self, kind: str) -> list[Event]:
        """All events of a kind so far."""
        return [event for event in self.events if event["kind"] == kind]

    def first(self, kind: str) -> Event:
        """The first event of a kind."""
        return self.of(kind)[0]

    def wait(
        self,
        what: str | Callable[[Event], bool],
        count: int = 1,
        *,
        since: int = 0,
        patience: float = PATIENCE,
    ) -> Event:
        """Wait for the ``count``-th event of a kind, or one that a test accepts."""
        accepts = (lambda e: e["kind"] == what) if isinstance(what, str) else what

        def found() -> list[Event]:
            return [e for e in self.events if e["sequence"] > since and accepts(e)]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count or self._is_over(), patience)
            events = found()
        assert len(events) >= count, f"no {count} x {what} within {patience} s\n{self.story()}"
        return events[count - 1]

    def _is_over(self) -> bool:
        return self.has_ended() and not any(t.is_alive() for t in self._threads)

    def wait_line(self, text: str) -> str:
        """Wait for a line of output that contains ``text``."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._is_over(), PATIENCE)
        line = found()
        assert line is not None, f"no line with {text!r}\n{self.story()}"
        return line

    def newest(self) -> int:
        """The number of the last event so far, for ``wait(…, since=…)``."""
        return self.events[-1]["sequence"] if self.events else 0

    def status(self) -> dict[str, Any]:
        """The answer to `tercio status`."""
        return self.ask("status")

    def pids(self, phase: str = "serving") -> dict[int, int]:
        """Slot to pid of the workers in a phase."""
        return {w["slot"]: w["pid"] for w in self.status()["workers"] if w["phase"] == phase}

    def until(self, is_true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until `status` satisfies a test, looking again at each event and each 50 ms."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = self.status()
            if is_true(status):
                return status
            with self._changed:
                self._changed.wait(0.05)
        raise AssertionError(f"never true\n{self.story()}")

    def get(self, path: str = "/", timeout: float = PATIENCE) -> Answer:
        """One request on a connection of its own."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=timeout
            ) as response:
                return Answer(response.status, response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())

    # Driving

    def converse(self, do: str, **arguments: object) -> Iterator[dict[str, Any]]:
        """Send a control request and yield the replies."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.control))
            request = {"version": 1, "do": do, **arguments}
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as file:
                for line in file:
                    yield json.loads(line)

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Send a control request and return its last reply's result, or raise its error."""
        replies = list(self.converse(do, **arguments))
        assert replies, "no answer"
        if "error" in replies[-1]:
            raise AssertionError(replies[-1]["error"])
        result: dict[str, Any] = replies[-1]["result"]
        return result

    def tercio(self, *arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a `tercio` command against this cluster."""
        return subprocess.run(
            [sys.executable, "-m", "tercio", *arguments, "--runtime-dir", str(self.runtime)],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def signal(self, number: int) -> None:
        """Signal the primary."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """TERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.wait_end()

    def wait_end(self, patience: float = PATIENCE) -> int:
        """Wait for the primary's end; return its exit status."""
        assert self.process is not None
        code = self.process.wait(patience)
        for thread in self._threads:
            thread.join(PATIENCE)
        return code

    def living(self) -> list[int]:
        """Every process that this cluster left or has, whoever its parent is now."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environ = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"{MARK}={self.mark}".encode() in environ and state != "Z":
                found.append(int(entry.name))
        return found

    def wait_no_processes(self, patience: float = PATIENCE) -> float:
        """Wait until no process of the cluster lives; return the seconds that took."""
        began = time.monotonic()
        while self.living():
            assert time.monotonic() - began < patience, f"still there: {self.living()}"
            threading.Event().wait(0.02)
        return time.monotonic() - began

    def story(self) -> str:
        """What happened, for a failed test."""
        events = "\n".join(f"  {e['sequence']:4} {e['kind']}: {e['text']}" for e in self.events)
        return f"events:\n{events}\noutput:\n  " + "\n  ".join(self.lines[-60:])

    def clean_up(self) -> list[int]:
        """End everything; return the processes that ought not to have been there."""
        self.reading.set()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for thread in self._threads:
            thread.join(5)
        left = self.living()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(PATIENCE)  # who was left held the other end of what they read
            assert not thread.is_alive(), self.story()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        return left
