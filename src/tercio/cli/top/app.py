"""The screen of `tercio top`: looks each second, follows events, and passes orders on."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Footer, Static

from tercio.cli.asking import ask, converse
from tercio.cli.client import ANSWER_TIMEOUT, Message, RequestFailed, Told, number, text
from tercio.cli.text import escape
from tercio.cli.top.happenings import Happenings
from tercio.cli.top.heading import cards, progress, summary, troubles
from tercio.cli.top.history import History, Seen
from tercio.cli.top.screens import HowMany, Question, Reading
from tercio.cli.top.workers import Workers
from tercio.errors import TercioError

_MEMORY_AGE: Final = 8  # seconds; measuring it makes the kernel walk the workers' page tables
_SAID: Final = 10.0  # seconds for which an error stays


class Top(App[None]):
    """One cluster, until the user leaves."""

    CSS_PATH = "top.tcss"
    TITLE = "tercio top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [
        Binding("r", "reload", "Reload"),
        Binding("x", "recycle", "Replace"),
        Binding("X", "recycle_all", "Replace all"),
        Binding("plus,equals_sign", "more", "More", key_display="+"),
        Binding("minus", "fewer", "Fewer", key_display="-"),
        Binding("s", "scale", "Scale"),
        Binding("d", "dump", "Stacks"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, name: str, directory: str, interval: float) -> None:
        super().__init__()
        self._name = name
        self._directory = Path(directory)
        self._interval = interval
        self._history = History()
        self._heard = 0  # the number of the last event

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{escape(self._name)}  …"), id="summary")
        yield Static(id="lost")
        yield Static(id="progress")
        with Horizontal(id="cards"):
            for _ in cards(self._history):
                yield Static(classes="card")
        yield Workers()
        yield Static(id="notes")
        yield Happenings()
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(Workers).focus()
        self._watch()
        self._follow()

    # Looking

    @work
    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    status = await ask(self._directory, "status", {"memory_age": _MEMORY_AGE})
            except (TercioError, TimeoutError) as error:
                if self.is_running:  # or its widgets are being taken away
                    self._show_lost(str(error) or f"no answer for {ANSWER_TIMEOUT:g} s")
            else:
                if self.is_running:
                    self._show(status)
            await asyncio.sleep(max(self._interval - (time.monotonic() - began), 0.05))

    def _show(self, status: Message) -> None:
        known = number(self._history.status, "pid")
        if known is not None and number(status, "pid") != known:
            self._history, self._heard = History(), 0
            self.screen_stack[0].query_one(Happenings).forget()
            self._follow()  # from the first event of this one
        self._history.take(status, time.monotonic())
        self._tell("#lost", None)
        self.screen_stack[0].remove_class("old")
        self._draw()

    def _show_lost(self, why: str) -> None:
        self._history.miss()
        self._tell("#lost", Text(f"{escape(why)}; trying again each {self._interval:g} s"))
        self.screen_stack[0].add_class("old")
        self._draw()

    def _draw(self) -> None:
        status = self._history.status
        if not status or not self.is_running:
            return
        below = self.screen_stack[0]
        below.query_one("#summary", Static).update(summary(status))
        self._tell("#progress", progress(status))
        noted = troubles(self._history)
        self._tell("#notes", Text("\n".join(noted)) if noted else None)
        for place, card in zip(
            below.query(".card").results(Static), cards(self._history), strict=True
        ):
            place.update(card.draw(max(place.content_size.width, 1)))
        below.query_one(Workers).show(self._history.workers)

    def _tell(self, place: str, what: Text | None) -> None:
        widget = self.screen_stack[0].query_one(place, Static)
        widget.set_class(what is not None, "shown")
        if what is not None:
            widget.update(what)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    # Listening

    @work(exclusive=True, group="follow")
    async def _follow(self) -> None:
        """Show what happens, and go on with it when another primary answers."""
        while True:
            try:
                said = converse(self._directory, "events", {"since": self._heard, "follow": True})
                async with aclosing(said):
                    async for message in said:
                        if isinstance(message, Told):
                            self._hear(message.event)
            except TercioError:
                pass  # the other one says why
            await asyncio.sleep(self._interval)

    def _hear(self, event: Message) -> None:
        self._heard = int(number(event, "sequence") or self._heard)
        self._history.hear(event)
        if self.is_running:
            self.screen_stack[0].query_one(Happenings).hear(event)

    # Orders

    def action_reload(self) -> None:
        self._ask_first("Load the application anew?", "reload", {})

    def action_recycle(self) -> None:
        if (one := self._chosen()) is not None:
            question = f"Replace the worker of slot {one.slot} by a fresh one?"
            self._ask_first(question, "recycle", {"slots": [one.slot]})

    def action_recycle_all(self) -> None:
        self._ask_first("Replace all workers, one after the other?", "recycle", {"slots": "all"})

    def action_more(self) -> None:
        self._order("scale", {"to": "+1"})

    def action_fewer(self) -> None:
        self._ask_first("Serve with one worker fewer?", "scale", {"to": "-1"})

    def action_scale(self) -> None:
        def answered(to: str | None) -> None:
            if to:
                self._order("scale", {"to": to})

        target = int(number(self._history.status, "target") or 0)
        self.push_screen(HowMany(target), answered)

    @work
    async def action_dump(self) -> None:
        one = self._chosen()
        if one is None:
            return
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                answer = await ask(self._directory, "dump", {"slot": one.slot})
        except (TercioError, TimeoutError) as error:
            self._complain(f"no stacks of slot {one.slot}: {error}")
            return
        if self.is_running:
            self.push_screen(Reading(f"worker {one.name}: threads and tasks", text(answer, "text")))

    def _chosen(self) -> Seen | None:
        return self.screen_stack[0].query_one(Workers).chosen

    def _ask_first(self, question: str, what: str, arguments: Message) -> None:
        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self._order(what, arguments)

        self.push_screen(Question(question), answered)

    @work
    async def _order(self, what: str, arguments: Message) -> None:
        """Leaving meanwhile does not call it off."""
        try:
            result = await ask(self._directory, what, {**arguments, "wait": True})
        except RequestFailed as error:
            self._complain(str(error))
        except TercioError as error:
            self._complain(f"{what}: {error}")
        else:
            said = text(result, "text") or f"{what}: done"
            self.notify(escape(said), markup=False)

    def _complain(self, what: str) -> None:
        self.notify(escape(what), severity="error", timeout=_SAID, markup=False)
