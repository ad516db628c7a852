"""The table uses the width that there is."""

from hypothesis import given
from hypothesis import strategies as st

from tercio.cli.top.columns import layout, scales
from tercio.cli.top.history import History
from tests.cli.top.statuses import status, worker


def _seen(*workers: dict[str, object]) -> History:
    history = History()
    history.take(status(*workers), 0.0)
    return history


def titles(width: int) -> list[str]:
    return [column.title for column in layout(width).columns]


def test_a_narrow_terminal_has_the_lines_and_a_wide_one_everything() -> None:
    assert titles(80) == ["SLOT", "STATE", "REQ/S", "P99", "LAG", "MEMORY"]
    assert titles(160) == [
        "SLOT", "PID", "GEN", "STATE", "REQ/S", "P99", "LAG", "MEMORY", "CPU", "CONN", "RESTARTS",
        "UP",
    ]  # fmt: skip


@given(st.integers(76, 400))
def test_all_that_is_shown_fits(width: int) -> None:
    fitting = layout(width)
    lines = sum(fitting.line + 1 for column in fitting.columns if column.has_line)
    assert sum(column.width + 2 for column in fitting.columns) + lines <= width
    history = _seen(worker(3, pid=4194304, requests=10**9, uptime=8e7, cpu_percent=1600.0,
                           connections=10**5, restarts=10**6, memory_bytes=1 << 43))  # fmt: skip
    row = fitting.row(history.workers[0], scales(history.workers, fitting.line))
    for column, cell in zip(fitting.columns, row, strict=True):
        room = column.width + (fitting.line + 1 if column.has_line else 0)
        assert cell.cell_len <= room, column.title


def test_workers_are_drawn_to_one_scale() -> None:
    history = History()
    for second in range(10):
        one, two = worker(0, requests=1000 * second), worker(1, requests=250 * second)
        history.take(status(one, two), float(second))
    fitting = layout(80)
    place = titles(80).index("REQ/S")
    common = scales(history.workers, fitting.line)
    rows = [fitting.row(one, common)[place].plain for one in history.workers]
    assert rows == [" 1,000 " + "█" * fitting.line, "   250 " + "▂" * fitting.line]


def test_memory_that_stays_is_flat_and_a_leak_is_not() -> None:
    history = History()
    for second in range(10):
        leaking = worker(1, memory_bytes=(50 + 5 * second) << 20)
        history.take(status(worker(0, memory_bytes=50 << 20), leaking), float(second))
    fitting = layout(80)
    place = titles(80).index("MEMORY")
    common = scales(history.workers, fitting.line)
    flat, rising = (fitting.row(one, common)[place].plain for one in history.workers)
    assert len(set(flat.split()[-1])) == 1
    assert list(rising.split()[-1]) == sorted(rising.split()[-1])
    assert rising[-1] > rising[-fitting.line] > flat[-1]


def test_a_slot_without_a_worker_says_when_it_starts() -> None:
    history = History()
    history.take(status(slots=[{"slot": 2, "next_start_in": 4.2, "restarts": 6}], target=3), 0.0)
    fitting = layout(160)
    row = fitting.row(history.workers[0], scales(history.workers, fitting.line))
    said = dict(zip(titles(160), (cell.plain.strip() for cell in row), strict=True))
    assert (said["SLOT"], said["STATE"], said["RESTARTS"], said["UP"]) == (
        "2", "down", "6", "in 4.2s",
    )  # fmt: skip


def test_a_name_cannot_write_to_the_terminal() -> None:
    history = _seen(worker(0, phase="\x1b]0;owned\x07"))
    fitting = layout(80)
    row = fitting.row(history.workers[0], scales(history.workers, fitting.line))
    assert "\x1b" not in "".join(cell.plain for cell in row)
