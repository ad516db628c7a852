"""The page shows the cluster and changes it, by keyboard alone and to nobody's harm."""

import os
import re
import signal
import urllib.error
import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.cluster.dashboard.conftest import Board
from tests.cluster.test_sidecar import sidecar_pid


def test_it_shows_each_worker_and_the_traffic(board: Board) -> None:
    page = board.open()
    rows = page.locator("#workers tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first.locator(".pill")).to_have_text("serving")
    for _ in range(20):
        board.cluster.get()
    rate = page.locator("#charts article").first.locator("strong").first
    expect(rate).to_have_text(re.compile(r"[1-9][0-9.]* /s"))
    expect(page.locator("#charts canvas")).to_have_count(5)
    expect(page.locator("#facts")).to_contain_text("2 of 2 workers ready")
    expect(page.locator("#reload")).to_be_disabled()
    expect(page.locator("#trouble")).to_contain_text("Nothing")


def test_all_orders_are_given_by_keyboard(board: Board) -> None:
    page = board.open()
    board.log_in(page)
    assert board.token not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    page.locator("#reload").press("Enter")
    page.keyboard.press("Enter")  # yes
    expect(page.locator("#reload-progress")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("generation 2")
    expect(page.locator("#reload-progress")).to_be_hidden()
    page.locator("#more").press("Enter")
    expect(page.locator("#target")).to_have_text("3")
    expect(page.locator("#workers tbody tr")).to_have_count(3)
    page.get_by_label("Stacks of worker 0.2").press("Enter")
    expect(page.locator("#dump")).to_contain_text("Thread MainThread")
    page.keyboard.press("Escape")
    page.get_by_label("Recycle worker 0.2").press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Recycle worker 0.3")).to_be_visible()
    page.locator("#fewer").press("Enter")
    page.keyboard.press("Escape")  # no
    expect(page.locator("#target")).to_have_text("3")
    page.locator("#login").press("Enter")
    expect(page.locator("#login")).to_have_text("Log in")
    expect(page.locator("#reload")).to_be_disabled()


def test_a_wrong_token_opens_nothing(board: Board) -> None:
    page = board.open()
    page.locator("#login").click()
    page.locator("#token").fill("not-the-token-that-is-wanted")
    page.keyboard.press("Enter")
    expect(page.locator("#login-error")).to_have_text("this token is wrong")
    page.keyboard.press("Escape")
    expect(page.locator("#more")).to_be_disabled()


def test_it_says_when_it_is_cut_off_and_comes_back(board: Board) -> None:
    page = board.open()
    pid = sidecar_pid(board.cluster)
    os.kill(pid, signal.SIGSTOP)  # so that it does not come back before that is seen
    os.kill(pid, signal.SIGKILL)
    expect(page.locator("#connection")).to_contain_text("connection is lost")
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator("#state")).to_have_text("serving")
    expect(page.locator("body")).not_to_have_class("old")


def test_it_notices_one_that_is_silent(board: Board) -> None:
    page = board.open()
    expect(page.locator("#workers tbody tr")).to_have_count(2)
    pid = sidecar_pid(board.cluster)
    os.kill(pid, signal.SIGSTOP)  # its connections stay open
    try:
        expect(page.locator("#connection")).to_contain_text("connection is lost")
        expect(page.locator("body")).to_have_class("old")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator("body")).not_to_have_class("old")


def test_what_programs_say_is_text_and_no_more(board: Board) -> None:
    page = board.open()
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>alert(1)</script>"
    board.cluster.write_app(f"raise RuntimeError({hostile!r})")
    board.cluster.ask("reload", wait=False)
    expect(page.locator("#trouble")).to_contain_text("onerror=")
    expect(page.locator("#trouble pre").first).to_contain_text("<script>alert(1)</script>")
    # A slot that stays without a worker says why.
    os.kill(board.cluster.pids()[1], signal.SIGKILL)
    down = page.locator("#workers tr").filter(has_text="down")
    expect(down).to_contain_text("<script>alert(1)</script>")
    expect(down).to_contain_text("starts again in")
    expect(page.locator("#notes")).to_contain_text("the last release was rejected")
    assert page.locator("main img, main script").count() == 0
    assert "taken" not in page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(board: Board, scheme: str) -> None:
    for width in (390, 1280):
        page = board.open(
            color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce"
        )
        board.log_in(page)
        expect(page.locator("#workers tbody tr")).to_have_count(2)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.locator("#reload").click()
        found = Axe().run(page)  # with a question open
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_link_from_elsewhere_shows_the_page_and_no_data(board: Board) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    with urllib.request.urlopen(urllib.request.Request(board.origin + "/", None, headers)) as page:
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"
        tag = page.headers["etag"]
    data = urllib.request.Request(board.origin + "/api/v1/status", None, headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(data)
    again = urllib.request.Request(board.origin + "/", None, {"If-None-Match": tag})
    with pytest.raises(urllib.error.HTTPError, match="304"):
        urllib.request.urlopen(again)
