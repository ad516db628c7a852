"""What is reported fits into a message, whatever it says."""

import json

import pytest

from tercio.system.channel import MAX_LINE
from tercio.worker.clipping import clip, clip_line, fitting


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def test_a_long_text_loses_its_middle() -> None:
    text = "first\n" + "é\n" * 100_000 + "last"
    clipped = clip(text, 1000)
    assert size(clipped) <= 1000
    assert clipped.startswith("first\n")
    assert clipped.endswith("last")
    assert "characters left out" in clipped
    assert clip("short", 1000) == "short"


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 100_000, "\0" * 100_000, "x" + "\0" * 999])
def test_a_long_line_loses_its_end(text: str) -> None:
    clipped = clip_line(text, 200)
    assert size(clipped) <= 200
    assert clipped.endswith("…")
    assert "\n" not in clipped
    assert clip_line("short", 200) == "short"


def test_any_message_can_be_made_to_fit() -> None:
    long = "\0" * 100_000
    message = {"type": "odd", "a": long, "b": long, "c": [long] * 1000, "d": 3}
    fits = fitting(message)
    assert size(fits) < MAX_LINE
    assert (fits["type"], fits["d"]) == ("odd", 3)
