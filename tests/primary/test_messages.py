"""What a worker may send: anything. The primary takes what it understands and refuses the rest."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.core import events, inputs
from tercio.core.model import WorkerId
from tercio.errors import ProtocolError
from tercio.primary.messages import input_of
from tercio.system.lines import LineWriter

WHO = WorkerId(3, 7)
TYPES = [
    "loaded", "ready", "failed", "replace", "blocked", "unblocked", "cut", "dump", "note", "other",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "fingerprint", "stage", "error", "traceback", "signal", "seconds", "culprit", "stack",
    "requests", "websockets", "paths", "id", "text", "level",
]  # fmt: skip


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_any_message_is_understood_or_refused(kind: str, fields: dict[str, object]) -> None:
    message = json.loads(json.dumps({**fields, "type": kind}))
    try:
        meaning = input_of(WHO, message)
    except ProtocolError:
        return
    if isinstance(meaning, events.Event):
        with open(os.devnull, "wb") as nowhere:
            writer = LineWriter(nowhere.fileno())
            writer.write(meaning.text)
            writer.close()
        json.dumps(meaning.to_fields())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, True, "5", None, []])
def test_a_number_that_is_none_is_refused(number: object) -> None:
    with pytest.raises(ProtocolError, match="requests"):
        input_of(WHO, {"type": "cut", "requests": number})


def test_a_cut_is_counted_and_its_paths_are_bounded() -> None:
    message = {"type": "cut", "requests": 2, "websockets": 1, "paths": ["/a"] * 50}
    assert input_of(WHO, message) == inputs.Cut(WHO, 2, 1, ("/a",) * 10)


@pytest.mark.parametrize(
    ("level", "kind"),
    [
        ("info", events.WorkerNote),
        ("warning", events.WorkerWarning),
        ("error", events.WorkerWarning),
    ],
)
def test_a_note_is_as_loud_as_its_worker_says(level: str, kind: type[events.Event]) -> None:
    note = input_of(WHO, {"type": "note", "level": level, "text": "the certificate is broken"})
    assert isinstance(note, kind)
    assert note.text == "worker 3.7: the certificate is broken"
