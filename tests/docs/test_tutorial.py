"""The tutorial, from its empty directory to its last command, as it is written there.

What is different from a reader's: the port, see `reader`; the first block, which makes an
environment, is left out in favour of the one that runs the tests; and each reload takes half a
second instead of four, by ``TERCIO_SOAK`` and ``TERCIO_TRIAL``.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE
from tests.cluster.look import short_directory
from tests.docs.reader import ROOT, Reader, Terminal, blocks

PAGE = ROOT / "docs" / "tutorial.md"
INSTALL = """\
mkdir chat && cd chat
python3 -m venv .venv
. .venv/bin/activate
pip install ~/tercio fastapi
"""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial uses curl")


def without_chance(text: str) -> str:
    """A text without what chance decides: which worker answered."""
    return re.sub(r'"worker":"\d+\.\d+"', '"worker":"…"', text)


@pytest.mark.timeout(300)
def test_the_tutorial(tmp_path: Path) -> None:
    outputs: list[str] = []
    terminals: list[Terminal] = []  # the server's, then the listener's
    with (
        short_directory() as run,
        Reader(tmp_path, run, TERCIO_SOAK="0.3", TERCIO_TRIAL="0.2") as reader,
    ):
        run.chmod(0o700)
        for block in blocks(PAGE):
            match block.language:
                case "python" | "toml":
                    reader.write(block)
                case "text":  # what the terminal that was opened last shows, sooner or later
                    terminals[-1].shows(re.escape(block.text))
                case "bash" if block.text == INSTALL:
                    pass
                case "bash" if re.match(r"tercio run|python listen.py", block.text):
                    terminals.append(reader.open(block.text))
                    wanted = block.printed or "all 2 workers serve"
                    terminals[-1].shows(re.escape(wanted))
                case "bash":
                    output = reader.type(block.text)
                    outputs.append(output)
                    shown = without_chance(output).splitlines()
                    for line in without_chance(block.printed or "").splitlines():
                        assert line in shown, f"line {block.line}: it said\n{output}"
                case other:
                    pytest.fail(f"line {block.line}: nobody knows what to do with {other}")
        server, listener = terminals
        assert server.process.wait(PATIENCE) == 0
        heard = listener.shows("line-300$")
    said = re.findall(r"ada: line-(\d+)$", heard, re.MULTILINE)
    assert said == [str(number) for number in range(1, 301)]
    (broken,) = (output for output in outputs if "exit code" in output)
    assert "No module named 'nowhere'" in broken
    assert "exit code 1" in broken
    assert '"you":"ada"' in broken
    assert not any("lost line" in output for output in outputs)
    assert "tell_how_many" in "".join(outputs), "tercio status shows the job"
    assert re.search(r'^app = "chat:app" +# tercio.toml', outputs[-1], re.MULTILINE), outputs[-1]
