"""docs/servers.md names every test of both servers, and says the defaults that there are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.config import OPTIONS, Config

HERE = Path(__file__).parent
PAGE = (HERE.parents[2] / "docs" / "servers.md").read_text()
FILES = (
    "test_requests",
    "test_answers",
    "test_websockets",
    "test_surroundings",
    "test_differences",
)


def rows(section: str) -> Iterator[list[str]]:
    """The cells of all rows, without those of the head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def section(title: str) -> str:
    """What stands below a heading that ends like this, up to the next."""
    _, found, rest = PAGE.partition(f"{title}\n")
    assert found, f"no section {title!r}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("file", FILES)
def test_each_row_is_a_test_and_each_test_a_row(file: str) -> None:
    source = ast.parse((HERE / f"{file}.py").read_text())
    tests = [
        node.name
        for node in source.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    named = [cells[-1].strip("`") for cells in rows(section(f"`{file}.py`"))]
    assert named == tests


def test_each_file_of_tests_has_a_table() -> None:
    files = {path.stem for path in HERE.glob("test_*.py")} - {Path(__file__).stem}
    assert files == set(FILES)


def test_the_defaults_are_those_of_the_options() -> None:
    config = Config()
    for flag, default, *_ in rows(section("## Defences")):
        name = flag.strip("`").removeprefix("--").replace("-", "_")
        option = OPTIONS[name]
        value = getattr(config, name)
        shown = option.kind.zero if option.kind.zero and not value else option.kind.show(value)
        assert default.strip("`") == shown, flag
