"""`tercio dev`: a person writes, and looks."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, Cluster
from tests.cluster.terminal import INTERRUPT, Terminal

APP = """
RELEASE = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/stop":
        answer = 42
        breakpoint()
        answer += 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": RELEASE.encode()})
"""

GONE = "is gone (reload)"
"""Said of the old worker: from here on only the new one answers."""


@pytest.fixture
def place(cluster: Cluster) -> Callable[..., Terminal]:
    """A directory with an application. The fixture behind it looks for what is left over."""
    cluster.write_app(APP)

    def start(*options: str, app: str = "app:app") -> Terminal:
        return Terminal(cluster.directory, cluster.mark, *options, app=app)

    return start


@pytest.fixture
def app(cluster: Cluster) -> Path:
    return cluster.directory / "app.py"


def release(name: str) -> str:
    return APP.replace('"one"', repr(name))


def test_a_change_is_loaded_and_a_broken_file_waits_for_the_next_one(
    place: Callable[..., Terminal], app: Path
) -> None:
    with place() as terminal:
        terminal.wait("all 1 workers serve")
        assert terminal.get() == "one"

        app.write_text(release("two"))
        terminal.wait("app.py changed, loading")
        terminal.wait(GONE)
        assert terminal.get() == "two"

        app.write_text(release("three").replace("RELEASE =", "RELEASE = ="))
        terminal.wait("SyntaxError: invalid syntax")
        terminal.wait("still serving generation 2")
        assert terminal.get() == "two"

        app.write_text(release("four"))
        terminal.wait(GONE)
        assert terminal.get() == "four"

        terminal.type(INTERRUPT)
        assert terminal.ends() == 0


def test_an_application_that_was_never_right_is_waited_for(
    place: Callable[..., Terminal], app: Path
) -> None:
    app.write_text("import nowhere_to_be_found\n")
    with place() as terminal:
        terminal.wait("No module named 'nowhere_to_be_found'")
        terminal.wait("waiting for a change of its files")

        asked: list[str] = []
        client = threading.Thread(target=lambda: asked.append(terminal.get()))
        client.start()  # it waits for an answer rather than be refused
        app.write_text(APP)
        terminal.wait("is done")
        client.join(PATIENCE)
        assert asked == ["one"]
        assert terminal.screen.count("could not start (import)") == 1

        terminal.type(INTERRUPT)
        assert terminal.ends() == 0


def test_a_breakpoint_is_answered_in_the_terminal_and_nothing_ends_it(
    place: Callable[..., Terminal], app: Path, cluster: Cluster
) -> None:
    with place("--drain-timeout", "0.2", "--sample-interval", "0.1") as terminal:
        terminal.wait("all 1 workers serve")
        asked: list[str] = []
        client = threading.Thread(target=lambda: asked.append(terminal.get("/stop")))
        client.start()
        terminal.wait("(Pdb) ")
        terminal.type("p answer * 2\n")
        terminal.wait("84")
        terminal.wait("(Pdb) ")
        cluster.until(lambda status: bool(status["workers"][0]["at_prompt"]))

        app.write_text(release("two"))
        terminal.wait("the reload begins when it goes on")
        terminal.type("p 'still ' + 'here'\n")
        terminal.wait("'still here'")
        terminal.type("c\n")
        terminal.wait(GONE)
        client.join(PATIENCE)
        assert asked == ["one"]
        assert terminal.get() == "two"
        assert "blocked" not in terminal.screen

        terminal.type(INTERRUPT)
        assert terminal.ends() == 0


def test_ctrl_c_ends_also_what_waits_at_a_breakpoint_and_gives_the_terminal_back(
    place: Callable[..., Terminal],
) -> None:
    import termios

    with place() as terminal:
        before = termios.tcgetattr(terminal._fd)
        terminal.wait("all 1 workers serve")
        client = threading.Thread(target=lambda: _refused(terminal))
        client.start()
        terminal.wait("(Pdb) ")
        terminal.type(INTERRUPT)
        terminal.wait("stopped; cut 1 requests")
        assert termios.tcgetattr(terminal._fd) == before
        assert terminal.ends() == 0
        client.join(PATIENCE)


def _refused(terminal: Terminal) -> None:
    with pytest.raises(OSError):
        terminal.get("/stop")


def test_a_breakpoint_in_an_import_works_too(place: Callable[..., Terminal], app: Path) -> None:
    app.write_text("breakpoint()\n" + APP)
    # Enough for a slow machine to come to its prompt and be seen there.
    with place("--start-timeout", "5", "--sample-interval", "0.1") as terminal:
        terminal.wait("(Pdb) ")
        # Longer than --start-timeout: a question that this worker would not live to answer.
        terminal.type("import time; time.sleep(5.5)\n")
        terminal.wait("(Pdb) ")
        terminal.type("p 6 * 7\n")
        terminal.wait("42")
        terminal.type("c\n")
        terminal.wait("all 1 workers serve")
        assert terminal.get() == "one"


def test_an_import_that_hangs_is_given_up_when_the_file_changes(
    place: Callable[..., Terminal], app: Path
) -> None:
    with place() as terminal:
        terminal.wait("all 1 workers serve")
        app.write_text("import threading; threading.Event().wait()\n")
        terminal.wait("reload to generation 2 starts")
        assert terminal.get() == "one"
        app.write_text(release("three"))
        terminal.wait("the files changed again")
        terminal.wait(GONE)
        assert terminal.get() == "three"


def test_patterns_say_what_is_looked_at(place: Callable[..., Terminal], app: Path) -> None:
    site = app.parent / "site"
    for folder in (site, site / "tests"):
        folder.mkdir()
    with place(
        "--watch", "site", "--watch-filter", "*.html", "--watch-filter", "!tests"
    ) as terminal:
        terminal.wait("all 1 workers serve")
        app.write_text(release("not seen"))
        (site / "tests" / "test_page.py").write_text("x = 1\n")
        (site / "page.txt").write_text("not seen\n")
        (site / "page.html").write_text("seen\n")
        assert "page.html changed" in terminal.wait("changed, loading")
        terminal.wait("is done")
        assert terminal.screen.count("changed, loading") == 1


def test_flags_win_over_what_dev_would_choose_and_a_file_does_not(
    place: Callable[..., Terminal], app: Path
) -> None:
    (app.parent / "tercio.toml").write_text('workers = 3\nsoak = "20s"\n')
    with place() as terminal:
        terminal.wait("all 1 workers serve")
    with place("-w", "2") as terminal:
        terminal.wait("all 2 workers serve")
