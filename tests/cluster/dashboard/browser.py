"""A Chromium that is here, and what its pages must never do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, Request, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_OFFLINE = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def program() -> str:
    """The browser's path. Raises `RuntimeError` with what to install."""
    found = _found()
    if found is None:
        raise RuntimeError("no Chromium is here: install one (Debian: apt-get install chromium)")
    return found


def is_here() -> bool:
    """Whether there is one."""
    return _found() is not None


def _found() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def running() -> Iterator[Browser]:
    """A browser without a window."""
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(), args=[*_OFFLINE, *root], handle_sigint=False
        )
        with browser:
            yield browser


class Watch:
    """What a page says to its developers, and whom it asks."""

    def __init__(self, page: Page, origin: str) -> None:
        self._origin = origin
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("request", self._asked)

    def _note(self, kind: str, text: str) -> None:
        # A refused or lost request is told there, too; the tests make some.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.faults.append(text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self._origin):
            self.faults.append(f"asked {request.url}")
