"""The two ends of `scripts/site`: gather what the site is made of, and check what it became.

`gather` copies the pages, and every file that they link to, to the paths that they have in the
repository. `check` follows each link of the built site that leads into the site.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "site" / "source"
HTML = ROOT / "site" / "html"
FIRST = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")

_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def gather() -> list[str]:
    """Copy the pages and what they link to; what is missing."""
    missing: list[str] = []
    pages = [ROOT / name for name in FIRST] + sorted((ROOT / "docs").rglob("*.md"))
    known = set(pages)
    while pages:
        page = pages.pop()
        copy = SOURCE / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
        if page.suffix != ".md":
            continue
        for target in _LINK.findall(page.read_text()):
            linked = (page.parent / target).resolve()
            if linked in known:
                continue
            known.add(linked)
            if linked.is_file() and linked.is_relative_to(ROOT):
                pages.append(linked)
            else:
                missing.append(f"{page.relative_to(ROOT)} links to {target}: no file")
    return missing


class _Page(HTMLParser):
    """The links of a page, and the anchors in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what leads somewhere, and what can be led to."""
        given = dict(attrs)
        if anchor := given.get("id"):
            self.anchors.add(anchor)
        for name in ("href", "src"):
            if link := given.get(name):
                self.links.append(link)


def check() -> list[str]:
    """Links of the built pages, those of the navigation among them, that lead nowhere."""
    pages = {file: _Page(file) for file in HTML.rglob("*.html") if file.name != "404.html"}
    return [
        f"{file.relative_to(HTML)}: {link}"
        for file, page in sorted(pages.items())
        for link in _broken(file, page, pages)
    ]


def _broken(file: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for link in sorted(set(page.links)):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        if target.is_dir():
            target /= "index.html"
        found = pages.get(target)
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and found and anchor not in found.anchors):
            yield link


def main(arguments: list[str]) -> int:
    """1 if something leads nowhere."""
    problems = {"gather": gather, "check": check}[arguments[0]]()
    for problem in problems:
        print(problem, file=sys.stderr)
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
