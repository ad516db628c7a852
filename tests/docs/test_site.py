"""The pages as a site: each has its place, and each link leads somewhere, here and on GitHub.

`scripts/site` builds it and looks again, at what became of the links; that needs an installation.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.reader import ROOT

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    ROOT / "benchmarks/README.md",
]
IDS = [str(page.relative_to(ROOT)).replace("/", "-") for page in PAGES]

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def text_of(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings that are the same on GitHub and on the site."""
    return {
        github
        for title in HEADING.findall(text_of(page))
        if (github := on_github(title)) == on_the_site(title)
    }


def on_github(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", plain(title).lower()).replace(" ", "-")


def on_the_site(title: str) -> str:
    """The anchor that Python-Markdown gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain(title)).strip().lower())


def plain(title: str) -> str:
    """A heading without what marks code and links in it."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")


def in_navigation(entry: object) -> Iterator[str]:
    """The files that a part of the navigation names."""
    match entry:
        case str():
            yield entry
        case dict():
            for each in entry.values():
                yield from in_navigation(each)
        case list():
            for each in entry:
                yield from in_navigation(each)


def test_every_page_has_one_place_in_the_navigation() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    named = sorted(in_navigation(nav))
    assert named == sorted(str(page.relative_to(ROOT)) for page in PAGES), "zensical.toml"


def test_the_navigation_has_the_four_parts() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    parts = [name for entry in nav for name in entry]
    assert parts == ["Tercio", "Tutorial", "How-to", "Reference", "Explanation"]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in LINK.findall(text_of(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.is_file(), f"{target}: no file"
        if anchor:
            assert anchor in anchors(linked), f"{target}#{anchor}: no heading of this name"
