"""The table of workers on the screen. The cursor stays with its slot while workers change."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import DataTable

from tercio.cli.top.columns import Layout, layout, scales
from tercio.cli.top.history import Seen


class Workers(DataTable[Text]):
    """A row each."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True)
        self._seen: list[Seen] = []
        self._layout: Layout | None = None

    @property
    def chosen(self) -> Seen | None:
        """The one under the cursor."""
        return self._seen[self.cursor_row] if 0 <= self.cursor_row < len(self._seen) else None

    def show(self, workers: Sequence[Seen]) -> None:
        """Show them as they are now."""
        fitting = layout(self.scrollable_content_region.width)
        if fitting != self._layout:
            self._layout = fitting
            self.clear(columns=True)
            self._seen = []
            for column in fitting.columns:
                width = column.width + (fitting.line + 1 if column.has_line else 0)
                self.add_column(column.heading, key=column.title, width=width)
        common = scales(workers, fitting.line)
        rows = [fitting.row(one, common) for one in workers]
        if [one.name for one in self._seen] == [one.name for one in workers]:
            for one, row in zip(workers, rows, strict=True):
                for column, cell in zip(fitting.columns, row, strict=True):
                    self.update_cell(one.name, column.title, cell)
        else:
            slot = self.chosen.slot if self.chosen is not None else None
            self.clear()
            for one, row in zip(workers, rows, strict=True):
                self.add_row(*row, key=one.name)
            slots = [one.slot for one in workers]
            if slot in slots:
                self.move_cursor(row=slots.index(slot))
        self._seen = list(workers)
