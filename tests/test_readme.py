"""The first five minutes of the README, as they are written there."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.testing import workers
from tests.cluster.harness import MARK, PATIENCE
from tests.cluster.look import short_directory
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")


def block(first: str) -> str:
    """The commands of the block that begins with these words."""
    (found,) = (str(text) for text in BLOCKS if text.startswith(first))
    return found


class Shell:
    """What a reader has: a clone, an environment, and a terminal."""

    def __init__(self, clone: Path, run: Path) -> None:
        self.port = free_port()
        self.clone = clone
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))},
            "TERCIO_ALLOW_ROOT": "1",  # tests run as whoever calls them
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(run),
            # The one liberty: another port than 8000, which may be taken.
            "PORT": str(self.port),
            # A file that changes twice within a second may keep its time and size.
            "PYTHONDONTWRITEBYTECODE": "1",
            MARK: uuid.uuid4().hex,
        }

    def type(self, commands: str) -> str:
        """Run a block of commands as they are, and return all that it says."""
        done = subprocess.run(
            ["bash", "-c", commands.replace(":8000", f":{self.port}")],
            cwd=self.clone,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 3,
            check=False,
        )
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    clone = tmp_path / "clone"
    shutil.copytree(
        ROOT / "examples", clone / "examples", ignore=shutil.ignore_patterns("__pycache__")
    )
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(clone)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    with short_directory() as run:
        run.chmod(0o700)
        yield Shell(clone, run)


def test_the_first_five_minutes(shell: Shell) -> None:
    server = subprocess.Popen(
        ["bash", "-c", f"exec {block('tercio run').strip()}"],
        cwd=shell.clone,
        env=shell.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    output: list[str] = []
    try:
        for line in server.stdout:
            output.append(line)
            if "all 4 workers serve" in line:
                break
        reader = threading.Thread(target=output.extend, args=(server.stdout,))
        reader.start()
        assert "INFO:     Tercio serves examples.hello:app\n" in output

        seen = shell.type(block("curl"))
        assert "Hello from Tercio!" in seen
        assert "4 of 4 workers ready · generation 1" in seen
        assert "reload to generation 2 is done" in shell.type(block("tercio reload\n"))
        broken = shell.type(block("echo"))
        assert "No module named 'nowhere'" in broken
        assert "exit code 1" in broken
        assert "Hello from Tercio!" in broken
        mended = shell.type(block("git checkout"))
        assert re.search(r"reload to generation \d+ is done", mended)
        driven = shell.type(block("tercio scale"))
        assert "6 of 6 workers are ready" in driven
        assert "replaced 2." in driven
        assert "Thread MainThread" in driven
        assert "Tercio serves examples.hello:app" in driven
        assert "stopped; nothing was cut" in shell.type(block("tercio stop"))
        assert server.wait(PATIENCE) == 0
        reader.join(PATIENCE)
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE)
        server.stdout.close()


def test_the_application_that_shares(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(# visits\.py\n.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "visits.py").write_text(code)
    with workers("visits:app", 3, cwd=tmp_path) as running:
        running.kill(0)
        answers = [running.get() for _ in range(20)]
        assert answers == [f"visit {number}\n".encode() for number in range(1, 21)]


def test_every_block_of_commands_is_known_to_these_tests() -> None:
    known = ["python3 -m venv", "tercio run", "curl", "tercio reload\n", "echo", "git checkout"]
    known += ["tercio scale", "tercio stop"]
    assert len(BLOCKS) == len(known)
    assert all(block(first) for first in known)


def test_what_is_installed_has_the_name_that_the_readme_uses() -> None:
    assert "pip install -e .\n" in block("python3 -m venv")
    for script in re.findall(r"^(scripts/\w+)", README, re.MULTILINE):
        assert os.access(ROOT / script, os.X_OK)
