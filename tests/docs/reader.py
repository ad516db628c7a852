"""A reader of a page: types its commands into terminals, and writes its files.

Nothing else is changed on the way from the page to the shell than the port 8000, which may be taken
here: the shell has another one in ``PORT``, and in the commands it is written in its place.
"""

import ast
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.api import pages
from tests.cluster.harness import MARK, PATIENCE
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]

_IN_PLACE_OF = re.compile(r"# (\S+), in place of (\w+)\n")
_AT_ITS_END = re.compile(r"# (\S+), at its end\n")
_WHOLE = re.compile(r"# (\S+\.\w+)\n")


def blocks(page: Path) -> list[pages.Block]:
    """All blocks of a page; one without a language would be overlooked, and is an error."""
    fences = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
    assert all(fences[0::2]), f"a block of {page.name} has no language"
    return pages.blocks(os.path.relpath(page, pages.DOCS))


class Terminal:
    """A command that goes on in a terminal of its own, and what it has shown."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._shown = ""
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._shown += line
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def shows(self, pattern: str) -> str:
        """Wait until it has shown this; all that it has shown."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while not re.search(pattern, self._shown, re.MULTILINE):
                left = deadline - time.monotonic()
                assert left > 0, f"it showed only:\n{self._shown}"
                assert self._thread.is_alive(), f"it ended after:\n{self._shown}"
                self._news.wait(left)
            return self._shown

    def close(self) -> int:
        """End it as closing a terminal does not: politely. Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


class Reader:
    """Somebody at a shell, in a directory and with a runtime directory of their own."""

    def __init__(self, directory: Path, run: Path, **environ: str) -> None:
        self.directory = directory
        self.port = free_port()
        self._terminals: list[Terminal] = []
        self.environ: Mapping[str, str] = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))},
            "TERCIO_ALLOW_ROOT": "1",  # tests run as whoever calls them
            # The environment of the tests is the one that the page installs.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            # Without it a cluster of another test, in a place of all, would be found as well.
            "TERCIO_RUNTIME_DIR": str(run),
            "PORT": str(self.port),
            # A file that changes twice within a second may keep its time and size.
            "PYTHONDONTWRITEBYTECODE": "1",
            MARK: uuid.uuid4().hex,
            **environ,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for terminal in reversed(self._terminals):
            terminal.close()

    def type(self, commands: str) -> str:
        """Run a block of commands as they are, and return all that it says."""
        done = subprocess.run(
            ["bash", "-c", self._here(commands)],
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 3,
            check=False,
        )
        return done.stdout

    def open(self, command: str) -> Terminal:
        """Run a command in a terminal of its own."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self._here(command).strip()}"],
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        terminal = Terminal(process)
        self._terminals.append(terminal)
        return terminal

    def write(self, block: pages.Block) -> None:
        """Do with a file what the first line of a block says."""
        if found := _AT_ITS_END.match(block.text):
            file = self.directory / found[1]
            file.write_text(f"{file.read_text()}\n\n{block.text}")
        elif found := _IN_PLACE_OF.match(block.text):
            file = self.directory / found[1]
            file.write_text(_replaced(file.read_text(), found[2], block.text))
        else:
            found = _WHOLE.match(block.text)
            assert found, f"line {block.line}: the block does not say which file it is"
            (self.directory / found[1]).write_text(block.text)

    def _here(self, commands: str) -> str:
        return commands.replace(":8000", f":{self.port}")


def _replaced(source: str, name: str, new: str) -> str:
    """The source with the text ``new`` in the place of the function ``name``."""
    (old,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name == name
    )
    lines = source.splitlines(keepends=True)
    first = min(each.lineno for each in (old, *old.decorator_list)) - 1
    return "".join([*lines[:first], new, *lines[old.end_lineno :]])
