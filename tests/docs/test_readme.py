"""Every block of the README, in its order, as it is written there.

What is different from a reader's: the port, see `reader`. The commands that make environments and
run the tests are not typed, as that is what has been done when this runs: `scripts/demo` finds an
environment that it takes for its own.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tercio.testing import workers
from tests.cluster.harness import PATIENCE
from tests.cluster.look import short_directory
from tests.docs.reader import ROOT, Reader, Terminal, blocks

README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")

CLONE = """\
scripts/demo      # serve the demo app on all cores
scripts/test      # run all tests
"""

INSTALL = """\
python3 -m venv .venv-try
. .venv-try/bin/activate
pip install -e .
"""

SAYS: dict[str, tuple[str, ...]] = {
    "curl": (r"Hello from Tercio!", r"4 of 4 workers ready · generation 1"),
    "tercio reload\n": (r"reload to generation 2 is done",),
    "echo": (r"No module named 'nowhere'", r"exit code 1", r"Hello from Tercio!"),
    "git checkout": (r"reload to generation \d+ is done",),
    "tercio scale": (
        r"6 of 6 workers are ready",
        r"replaced 2\.",
        r"Thread MainThread",
        r"Tercio serves examples\.hello:app",
    ),
    "tercio stop": (r"stopped; nothing was cut",),
}
"""What the commands of a block say, by how it begins."""


def clone_at(directory: Path) -> None:
    """What of a clone the README needs, with its git."""
    for part in ("examples", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, directory / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", directory)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(directory)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)


def with_demo(directory: Path) -> None:
    """The environment of `scripts/demo`, made of this one."""
    programs = directory / ".venv-demo" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "tercio"):
        (programs / name).symlink_to(Path(sys.executable).with_name(name))
    stamp = 'printf "%s" "-e . $(cksum <pyproject.toml)" > .venv-demo/.tercio-installed'
    subprocess.run(["bash", "-c", stamp], cwd=directory, check=True)


@pytest.mark.timeout(300)
def test_the_blocks_of_the_readme(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone_at(clone)
    said = set()
    server: Terminal | None = None
    with short_directory() as run, Reader(clone, run) as reader:
        run.chmod(0o700)
        for block in blocks(README):
            first = next((word for word in SAYS if block.text.startswith(word)), "")
            if block.text == CLONE:
                with_demo(clone)
                demo = reader.open(CLONE.split()[0])
                demo.shows(r"all \d+ workers serve")
                assert demo.close() == 0
                assert (ROOT / "scripts/test").stat().st_mode & 0o111
            elif block.text == INSTALL:
                pass
            elif block.text.startswith("tercio run"):
                server = reader.open(block.text)
                shown = server.shows("all 4 workers serve")
                assert "INFO:     Tercio serves examples.hello:app\n" in shown
            elif block.language == "python":
                reader.write(block)
                all_visitors_have_a_number(clone)
            elif block.language == "text":
                shown = server.shows("all 4 workers serve") if server else ""
                look_alike(block.text, shown)
            else:
                assert first, f"line {block.line}: nobody knows what this block says"
                output = reader.type(block.text)
                look_alike(block.printed or "", output)
                for claim in SAYS[first]:
                    assert re.search(claim, output), f"line {block.line}: it said\n{output}"
                said.add(first)
        assert server
        assert server.process.wait(PATIENCE) == 0
    assert said == set(SAYS)


def look_alike(sample: str, shown: str) -> None:
    """Each line of a sample was shown, but for numbers and paths."""
    lines = {shape(line) for line in shown.splitlines()}
    for line in sample.splitlines():
        assert line == "..." or shape(line) in lines, f"{line!r} is not in\n{shown}"


def shape(line: str) -> str:
    """A line without what differs from one machine and moment to the next."""
    line = re.sub(r"(?<= )/\S+", "/…", line)
    line = re.sub(r"\d+(\.\d+)?[s%]?|(?<= )-(?= |$)", "…", line)
    return re.sub(r" +", " ", line)


def all_visitors_have_a_number(directory: Path) -> None:
    """The application that shares does what the README says of it."""
    with workers("visits:app", 3, cwd=directory) as running:
        running.kill(0)
        answers = [running.get() for _ in range(20)]
        assert answers == [f"visit {number}\n".encode() for number in range(1, 21)]
