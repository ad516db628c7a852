"""JSON lines: one object a line, whatever was logged, and never longer than a pipe takes."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.logs import EVENT, Account, JsonAccessFormatter, JsonFormatter
from tercio.logs.structured import line
from tercio.system.lines import LINE_BYTES


@pytest.fixture(autouse=True)
def a_worker() -> Iterator[None]:
    JsonFormatter.origin = {"slot": 3, "generation": 2, "pid": 77}
    yield
    JsonFormatter.origin = {}


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.WARNING, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def told(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < LINE_BYTES
    answer: dict[str, Any] = json.loads(text)
    return answer


def test_a_record_says_when_where_and_what() -> None:
    said = told(record("low %s", "stock"))
    assert said.pop("time")[-6] in "+-"  # the zone
    assert said == {
        "level": "warning", "logger": "shop", "message": "low stock",
        "slot": 3, "generation": 2, "pid": 77,
    }  # fmt: skip


def test_what_the_application_adds_is_there_and_replaces_nothing() -> None:
    said = told(record("x", item=7, slot=9, when={1, 2}, color_message="\x1b[1mx"))
    assert said["item"] == 7
    assert said["slot"] == 3
    assert said["when"] == "{1, 2}"
    assert "color_message" not in said


def test_an_exception_is_a_field() -> None:
    made = record("failed\n")
    try:
        raise ValueError("the reason")
    except ValueError:
        made.exc_info = sys.exc_info()
    said = told(made)
    assert said["message"] == "failed"
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: the reason")


def test_an_event_has_its_fields_whatever_their_names() -> None:
    said = told(
        record("worker 3.7 died", **{EVENT: {"event": "WorkerDied", "name": "a", "slot": 3}})
    )
    assert said["event"] == "WorkerDied"
    assert said["name"] == "a"


def test_control_characters_stay_in_the_object() -> None:
    said = told(record("%s", '\x1b[2J\r\n{"level": "info"}\x7f\u2028\u202e'))
    assert said["message"] == '\x1b[2J\r\n{"level": "info"}\x7f\u2028\u202e'.rstrip("\n")


def test_a_long_exception_loses_its_middle_not_its_end() -> None:
    said = told(record("failed", exc_text="Traceback" + "é\n" * 9000 + "ValueError: the reason"))
    assert said["message"] == "failed"
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: the reason")
    assert "characters cut" in said["exception"]


def test_a_long_list_loses_its_middle_and_nothing_else_is_lost() -> None:
    said = told(record("bought", items=list(range(3000)), order=7, user={"name": "Ann"}))
    assert (said["message"], said["order"], said["user"]) == ("bought", 7, {"name": "Ann"})
    assert said["items"].startswith("[0, 1, 2, ")
    assert said["items"].endswith(", 2998, 2999]")


@pytest.mark.parametrize(
    "extra",
    [
        {"a": float("nan")},
        {"a": {("no", "text"): 1}},
        {"a": ["x" * 20_000]},
        {f"n{number}": "y" * 300 for number in range(100)},
        {"a": "\x00" * 50_000, "b": "\x00" * 50_000},
    ],
)
def test_what_json_cannot_say_is_said_somehow(extra: dict[str, object]) -> None:
    assert told(record("still there", **extra))["message"] == "still there"


def test_a_ring_is_no_reason_to_lose_a_line() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert told(record("still there", ring=ring))["message"] == "still there"


@given(st.dictionaries(st.text(max_size=20), st.text() | st.integers() | st.lists(st.floats())))
def test_any_fields_are_one_short_line_of_json(fields: dict[str, object]) -> None:
    text = line({**fields, "message": "x" * 5000})
    assert len(text) < LINE_BYTES
    assert isinstance(json.loads(text), dict)


SCOPE = {
    "type": "http", "method": "GET", "path": "/a b", "query_string": b"c=1", "http_version": "1.1",
    "client": ("10.0.0.1", 5000), "headers": [(b"user-agent", b"curl \xff")],
}  # fmt: skip


def test_a_request_says_how_long_it_took_and_how_much_it_was() -> None:
    account = Account(SCOPE, 200, sent=17, seconds=0.25)
    said = json.loads(JsonAccessFormatter().line(account))
    assert said["message"] == '10.0.0.1:5000 - "GET /a%20b?c=1 HTTP/1.1" 200'
    assert said["logger"] == "tercio.access"
    expected = {
        "client": "10.0.0.1:5000", "method": "GET", "path": "/a%20b", "query": "c=1",
        "status": 200, "bytes": 17, "seconds": 0.25, "user_agent": "curl ÿ", "slot": 3, "pid": 77,
    }  # fmt: skip
    assert expected == {name: said[name] for name in expected}


def test_records_in_uvicorns_form_are_understood() -> None:
    made = record('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/a?b=1", "1.1", 404)
    said = json.loads(JsonAccessFormatter().format(made))
    assert (said["path"], said["query"], said["status"]) == ("/a", "b=1", 404)
