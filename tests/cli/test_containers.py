"""What the page on containers shows is right, as far as that can be seen without a container."""

import json
import re
from pathlib import Path

from tests.cli.conftest import Tercio

PAGE = (Path(__file__).resolve().parents[2] / "docs/containers.md").read_text()


def lists(text: str) -> list[list[str]]:
    """The command lines that are written as lists of words."""
    return [json.loads(each) for each in re.findall(r'\["tercio".*?\]', text, re.S)]


def test_the_dockerfile_runs_as_nobody_in_particular_and_passes_signals_on() -> None:
    dockerfile = re.findall(r"^```dockerfile\n(.*?)^```$", PAGE, re.M | re.S)[0].splitlines()
    words = [line.split(None, 1) for line in dockerfile]
    assert ["USER", "1000:1000"] in words
    assert [line for line in dockerfile if line.startswith("CMD [")]  # exec form, not a shell's


def test_the_command_lines_are_taken_and_end_before_they_are_killed(tercio: Tercio) -> None:
    commands = [command for command in lists(PAGE) if command[1] == "run"]
    assert len(commands) == 2
    graces = [10, int(re.findall(r"terminationGracePeriodSeconds: (\d+)", PAGE)[0])]
    Path("shop").mkdir()
    Path("shop/main.py").write_text("async def app(scope, receive, send): ...\n")
    for command, grace in zip(commands, graces, strict=True):
        shown = tercio("config", *command[2:], "--json")
        assert shown.exit_code == 0, shown.stderr
        config = json.loads(shown.stdout)["config"]
        assert config["stop_delay"] + config["stop_timeout"] + config["kill_grace"] < grace
        assert config["host"] == "0.0.0.0"


def test_the_probes_name_paths_and_words_that_are_there(tercio: Tercio) -> None:
    probed = re.findall(r"httpGet: \{ path: (\S+), port: health \}", PAGE)
    assert sorted(probed) == ["/livez", "/readyz", "/startupz"]
    words = tercio("health", "--help").stdout
    for command in lists(PAGE):
        if command[1] == "health":
            assert all(word in words for word in command[2:])


def test_the_defaults_that_the_table_says_fit_do(tercio: Tercio) -> None:
    config = json.loads(tercio("config", "--json").stdout)["config"]
    assert config["timeout_keep_alive"] > 60  # nginx, AWS
    assert config["stop_delay"] + config["stop_timeout"] + config["kill_grace"] < 30  # Kubernetes
