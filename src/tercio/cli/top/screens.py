"""Screens before the others: a question, a number, a text to read."""

import re

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.validation import Regex
from textual.widgets import Input, Static

from tercio.cli.text import escape

_SCALE = re.compile("[+-]?[0-9]{1,4}", re.ASCII)


class Question(ModalScreen[bool]):
    """Yes or no; anything but yes is no."""

    BINDINGS = [
        Binding("y,enter", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(self._question))
            yield Static(Text("y  yes      n  no", style="dim"), classes="keys")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class HowMany(ModalScreen[str]):
    """The number of workers that is wanted, as `tercio scale` takes it; "" for none."""

    BINDINGS = [Binding("escape", "leave", "Leave")]

    def __init__(self, target: int) -> None:
        super().__init__()
        self._target = target

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(f"How many workers? There are {self._target}."))
            yield Input(
                placeholder="8, +1 or -1",
                restrict=r"[+-]?[0-9]{0,4}",
                max_length=5,
                validators=[Regex(_SCALE, failure_description="a number such as 8, +1 or -1")],
                valid_empty=False,
            )
            yield Static(Text("enter  set      escape  leave", style="dim"), classes="keys")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.validation_result is None or event.validation_result.is_valid:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss("")


class Reading(ModalScreen[None]):
    """A long text."""

    BINDINGS = [Binding("escape,q,d,enter", "app.pop_screen", "Back")]

    def __init__(self, title: str, content: str) -> None:
        super().__init__()
        self._title = title
        self._content = content

    def compose(self) -> ComposeResult:
        with Vertical(classes="page"):
            yield Static(Text(escape(self._title), style="bold"))
            with VerticalScroll():
                yield Static(Text(escape(self._content, lines=True)))
            yield Static(Text("arrows  scroll      escape  back", style="dim"), classes="keys")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
