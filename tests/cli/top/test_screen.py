"""The screen: what it shows of a cluster, and what its keys ask for."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tercio.cli.top.app import Top
from tests.cli.primary import Message, Primary, running
from tests.cli.top import picture
from tests.cli.top.statuses import status, worker

PATIENCE = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def event(number: int, text: str, level: str = "info", **fields: object) -> Message:
    told = {"sequence": number, "time": 1e9 + number, "level": level, "text": text, **fields}
    return {"event": told}


class Shop:
    """What the primary says; changed by a test while it looks."""

    def __init__(self) -> None:
        self.status = status(worker(0), worker(1, restarts=2), worker(2))
        self.events = [
            event(1, "worker 1.1 died: killed by SIGKILL", "warning"),
            event(2, "all 3 workers serve"),
        ]
        self.answers: dict[object, Message] = {}

    def answer(self, request: Message) -> Iterator[Message | bytes]:
        match request["do"]:
            case "status":
                yield {"result": self.status}
            case "events":
                since = request["since"]
                assert isinstance(since, int)
                yield from self.events[since:]
                yield {"result": {"newest": len(self.events)}}
            case what:
                yield self.answers.get(what, {"result": {"text": f"{what} is done"}})


@asynccontextmanager
async def top(
    directory: Path, shop: Shop, size: tuple[int, int] = (80, 24), interval: float = 0.2
) -> AsyncIterator[tuple[Pilot[None], Primary]]:
    with running(directory, "shop", shop.answer) as primary:
        app = Top("shop", str(directory / "shop"), interval)
        async with app.run_test(size=size, notifications=True) as pilot:
            await shows(pilot, "shop  serving")
            yield pilot, primary


async def until(pilot: Pilot[None], is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, picture.text_of(pilot.app)
        await pilot.pause(0.02)


async def shows(pilot: Pilot[None], said: str) -> None:
    await until(pilot, lambda: said in picture.text_of(pilot.app))


def asked(primary: Primary, what: str) -> list[Message]:
    return [request for request in primary.asked if request["do"] == what]


@pytest.mark.anyio
@pytest.mark.parametrize("width", [80, 160])
async def test_the_screen_is_as_it_was_looked_at(tmp_path: Path, width: int) -> None:
    shop = Shop()
    shop.status["reload"] = {"generation": 2, "stage": "starting", "ready": 1, "of": 3}
    shop.status["notes"] = ["planned recycling is paused"]
    async with top(tmp_path, shop, (width, 24), 0.05) as (pilot, primary):
        # The lines are full then, and nothing moves any more.
        looks = len(asked(primary, "status")) + 3 * width // 10
        await until(pilot, lambda: len(asked(primary, "status")) > looks)
        await shows(pilot, "all 3 workers serve")
        picture.assert_is(f"top-{width}", picture.text_of(pilot.app))


@pytest.mark.anyio
async def test_keys_ask_for_what_they_say(tmp_path: Path) -> None:
    async with top(tmp_path, Shop()) as (pilot, primary):
        for key, question, what, arguments in (
            ("r", "Load the application anew?", "reload", {}),
            ("x", "Replace the worker of slot 0 by a fresh one?", "recycle", {"slots": [0]}),
            ("X", "Replace all workers", "recycle", {"slots": "all"}),
            ("minus", "one worker fewer?", "scale", {"to": "-1"}),
        ):
            before = len(asked(primary, what))
            await pilot.press(key)
            await shows(pilot, question)
            await pilot.press("n")
            await pilot.press(key)
            await shows(pilot, question)
            await pilot.press("y")
            await until(pilot, lambda: len(asked(primary, what)) > before)  # noqa: B023
            [request] = asked(primary, what)[before:]
            expected = {"version": request["version"], "do": what, "wait": True, **arguments}
            assert request == expected
        await pilot.press("plus")
        await until(pilot, lambda: len(asked(primary, "scale")) == 2)
        assert asked(primary, "scale")[1]["to"] == "+1"
        await shows(pilot, "scale is done")


@pytest.mark.anyio
async def test_a_number_of_workers_is_typed(tmp_path: Path) -> None:
    async with top(tmp_path, Shop()) as (pilot, primary):
        await pilot.press("s")
        await shows(pilot, "How many workers? There are 3.")
        await pilot.press("x", "minus", "q", "enter")  # no number yet
        assert asked(primary, "scale") == []
        await pilot.press("backspace", "1", "2", "enter")
        await until(pilot, lambda: len(asked(primary, "scale")) == 1)
        assert asked(primary, "scale")[0]["to"] == "12"
        await pilot.press("s")
        await shows(pilot, "How many workers?")
        await pilot.press("5", "escape")
        await pilot.pause()
        assert len(asked(primary, "scale")) == 1


@pytest.mark.anyio
async def test_the_stacks_of_the_chosen_worker_are_shown_with_all_their_bytes_visible(
    tmp_path: Path,
) -> None:
    shop = Shop()
    shop.answers["dump"] = {"result": {"text": "Thread MainThread\n  [bold]not markup\x1b[31m"}}
    async with top(tmp_path, shop) as (pilot, primary):
        await pilot.press("down", "d")
        await shows(pilot, "worker 1.1: threads and tasks")
        assert asked(primary, "dump")[0]["slot"] == 1
        assert "[bold]not markup\\x1b[31m" in picture.text_of(pilot.app)
        await pilot.press("escape")
        await shows(pilot, "all 3 workers serve")


@pytest.mark.anyio
async def test_a_refusal_is_said(tmp_path: Path) -> None:
    shop = Shop()
    shop.answers["reload"] = {"error": "cluster is [stopping]", "exit": 1}
    async with top(tmp_path, shop) as (pilot, _):
        await pilot.press("r", "y")
        await shows(pilot, "cluster is [stopping]")


@pytest.mark.anyio
async def test_the_cursor_stays_with_its_slot(tmp_path: Path) -> None:
    shop = Shop()
    async with top(tmp_path, shop) as (pilot, primary):
        await pilot.press("down", "down")
        shop.status = status(worker(0), worker(0, 2, phase="starting"), worker(1), worker(2, 2))
        await shows(pilot, "starting")
        await pilot.press("x", "y")
        await until(pilot, lambda: len(asked(primary, "recycle")) == 1)
        assert asked(primary, "recycle")[0]["slots"] == [2]


@pytest.mark.anyio
async def test_a_primary_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    shop = Shop()
    app = Top("shop", str(tmp_path / "shop"), 0.2)
    async with app.run_test(size=(100, 24)) as pilot:
        await shows(pilot, "no cluster answers at")
        with running(tmp_path, "shop", shop.answer):
            await shows(pilot, "died: killed by SIGKILL")
            assert "no cluster answers" not in picture.text_of(app)
        await shows(pilot, "trying again each 0.2 s")
        # Another primary counts its events from one.
        shop.status["pid"], shop.events = 5000, [event(1, "here again")]
        with running(tmp_path, "shop", shop.answer):
            await shows(pilot, "here again")
            assert "SIGKILL" not in picture.text_of(app)
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.anyio
async def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    shop = Shop()
    shop.status = {"name": "shop", "state": "serving", "workers": [{"worker": "0.1"}, 5]}
    shop.events = [{"event": {}}, event(2, "[red]no markup[/red]\x07")]
    async with top(tmp_path, shop) as (pilot, _):
        await shows(pilot, "[red]no markup[/red]\\x07")
