"""A cluster with a dashboard, and a page that shows it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cluster.dashboard import browser as browsers
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.ports import free_port

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """One a test: while there is one, its library keeps a loop running in this thread."""
    if sys.platform != "linux" and not browsers.is_here():
        pytest.skip("this platform's browsers are somewhere else")
    with browsers.running() as started:
        yield started


class Board:
    """The dashboard of a cluster."""

    def __init__(self, cluster: Cluster, port: int, browser: Browser) -> None:
        self.cluster = cluster
        self.origin = f"http://127.0.0.1:{port}"
        self._browser = browser
        self._watches: list[browsers.Watch] = []

    @property
    def token(self) -> str:
        """The one that the primary has made."""
        directory = Path(str(self.cluster.status()["runtime_dir"]))
        return (directory / "admin.token").read_text().split()[1]

    def open(self, **options: Any) -> Page:
        """The page in a context of its own."""
        page = self._browser.new_context(**options).new_page()
        page.set_default_timeout(PATIENCE * 1000)
        self._watches.append(browsers.Watch(page, self.origin))
        page.goto(self.origin + "/")
        expect(page.locator("#state")).to_have_text("serving")
        return page

    def log_in(self, page: Page) -> None:
        """By keyboard."""
        page.locator("#login").press("Enter")
        page.keyboard.type(self.token)
        page.keyboard.press("Enter")
        expect(page.locator("#login")).to_have_text("Log out")

    @property
    def faults(self) -> list[str]:
        """What pages told their developers, and requests to others than us."""
        return [fault for watch in self._watches for fault in watch.faults]


@pytest.fixture
def board(cluster: Cluster, browser: Browser) -> Iterator[Board]:
    """A cluster of two workers; afterwards no page may have said that something is wrong."""
    port = free_port()
    cluster.start("-w", "2", *QUICK, "--admin", f"127.0.0.1:{port}")
    made = Board(cluster, port, browser)
    try:
        yield made
        assert made.faults == []
    finally:
        for context in list(browser.contexts):
            context.close()
