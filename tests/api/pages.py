"""Blocks of a page of docs/, and how they are run.

A ```python block is run in one namespace a page, with `await` at the top as in `python -m asyncio`;
a ```text block right after it is what it prints. A block that begins with ``# name.py`` is a file.
"""

import ast
import asyncio
import contextlib
import io
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

DOCS = Path(__file__).resolve().parents[2] / "docs"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (\w+\.\w+)\n")


@dataclass
class Block:
    """A piece of code, and what the page says that it prints."""

    line: int
    language: str
    text: str
    printed: str | None = None

    @property
    def file(self) -> str:
        """The name of the file that it is, "" if it is none."""
        found = _NAME.match(self.text)
        return found[1] if found else ""


def blocks(page: str) -> list[Block]:
    """The blocks of a page, with their output."""
    text = (DOCS / page).read_text()
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        is_next = not text[end : fence.start()].strip()
        if fence[1] == "text" and is_next and found:
            found[-1].printed = fence[2]
        else:
            found.append(Block(text.count("\n", 0, fence.start()) + 2, fence[1], fence[2]))
        end = fence.end()
    return found


def write_files(page: str, directory: Path) -> list[str]:
    """Write the files of a page; their names."""
    files = [block for block in blocks(page) if block.file]
    for block in files:
        (directory / block.file).write_text(block.text)
    return [block.file for block in files]


def run(page: str) -> int:
    """Run the blocks that are no files; how many. Raises `AssertionError` for other output."""
    return asyncio.run(_run(page))


async def _run(page: str) -> int:
    namespace: dict[str, Any] = {"asyncio": asyncio, "__name__": "__main__"}
    count = 0
    for block in blocks(page):
        if block.language != "python" or block.file:
            continue
        count += 1
        output = io.StringIO()
        # As many lines before it as on the page, so that a traceback names the page's line.
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(DOCS / page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(output):
            result = eval(code, namespace)
            if result is not None:
                await cast("Awaitable[object]", result)
        expected = block.printed or ""
        assert output.getvalue() == expected, (
            f"docs/{page}:{block.line} printed\n{output.getvalue()}and should print\n{expected}"
        )
    return count
