"""The table of workers, from whole messages and from poor ones."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.cli.status import render
from tests.cli.conftest import Tercio
from tests.cli.primary import Message, always, running

STATUS: Message = {
    "name": "shop",
    "pid": 4242,
    "version": "0.1.0",
    "state": "serving",
    "generation": 3,
    "uptime": 3700.0,
    "target": 3,
    "ready": 2,
    "listeners": ["http://127.0.0.1:8000"],
    "runtime_dir": "/run/tercio/shop",
    "server": "uvicorn",
    "engine": "",
    "reload": None,
    "breaker": {"text": "5 early deaths within 60 s"},
    "workers": [
        {
            "slot": 1,
            "incarnation": 4,
            "pid": 102,
            "generation": 3,
            "phase": "draining",
            "uptime": 61.0,
            "requests": 12345,
            "in_flight": 2,
            "connections": 31,
            "blocked": 3,
            "blocked_seconds": 4.25,
            "culprit": "shop/views.py:41 in report",
            "cpu_percent": 12.4,
            "memory_bytes": 312 << 20,
            "restarts": 3,
            "last_error": "killed by SIGKILL",
            "note": "recycled: memory 312 MiB > 300 MB",
        },
        {"slot": 0, "incarnation": 1, "pid": 101, "phase": "ready"},
    ],
    "slots": [
        {"slot": 0, "restarts": 0, "last_error": None, "next_start_in": None, "reasons": []},
        {
            "slot": 2,
            "restarts": 7,
            "last_error": "KeyError: 'DATABASE'\nmore",
            "next_start_in": 3.25,
            "reasons": ["exited with 70", "killed by SIGSEGV"],
        },
    ],
    "last_reload": {"text": "generation 3 committed"},
    "balance": {"asked": "least", "policy": "pull", "why": "the kernel refuses"},
    "moves": {"drain": 7, "rebalance": 0, "rescue": 2, "sticky": 0, "stolen": 1, "rescues": 1},
    "queues": [
        {"slot": 0, "waiting": 0, "waiting_seconds": 0.0, "share": 0.5, "is_stuck": False},
        {"slot": 1, "waiting": 4, "waiting_seconds": 0.06, "share": 0.5, "is_stuck": True},
    ],
    "notes": ["generation 4: files changed since start"],
}

RENDERED = """\
shop · serving · 2 of 3 workers ready · generation 3 · up 1h 01m · pid 4242
http://127.0.0.1:8000 · uvicorn · tercio 0.1.0 · /run/tercio/shop
balance pull · connections moved: 7 as workers left, 2 out of blocked workers, 1 accepted for \
another worker

SLOT  PID  GENERATION  STATE              UPTIME  RESTARTS  REQUESTS  CONNS  CPU   MEMORY  \
LAST ERROR
   0  101           -  ready                   -         0         -      -    -        -  -
   1  102           3  draining (2 left)  1m 01s         3     12345     31  12%  \
312 MiB  killed by SIGKILL
   2    -           -  starts in 3.2s          -         7         -      -    -        \
-  KeyError: 'DATABASE'

last reload: generation 3 committed
restarts are held back: 5 early deaths within 60 s
slot 2 restarted: exited with 70; killed by SIGSEGV
slot 1: recycled: memory 312 MiB > 300 MB
balance pull, not least: the kernel refuses
slot 1: 4 connections wait to be accepted, for 0.1s
slot 1: its event loop was blocked 3 times, 4.2s in all, last at shop/views.py:41 in report
generation 4: files changed since start
"""


def test_a_status_is_a_summary_a_table_and_what_is_not_as_it_should_be(
    tercio: Tercio, tmp_path: Path
) -> None:
    with running(tmp_path / "run", "shop", always({"result": STATUS})):
        result = tercio("status")
        as_json = tercio("status", "--json")
    assert result.exit_code == 0
    assert result.stdout == RENDERED
    assert json.loads(as_json.stdout) == STATUS


def test_the_status_of_another_version_is_shown_as_far_as_it_goes() -> None:
    assert render({})[0].startswith("cluster · - of - workers ready")
    assert "no workers" in render({})


def test_a_reload_and_an_open_breaker_are_described() -> None:
    running = {
        "generation": 4,
        "stage": "trial",
        "seconds": 2,
        "ready": 1,
        "of": 3,
        "waiting": True,
    }
    lines = render({**STATUS, "reload": running, "breaker": {"deaths": 5, "next_probe_in": 12.5}})
    said = "reload: to generation 4 (trial) since 2.0s, 1 of 3 workers ready, and one more"
    assert f"{said} is asked for" in lines
    assert "restarts are held back: 5 early deaths; one worker is tried in 12s" in lines


EVIL = "\x1b[31mred\r\nslot 9\u202e"


@pytest.mark.parametrize("key", ["name", "state", "server", "listeners", "notes", "runtime_dir"])
def test_nothing_from_outside_reaches_the_terminal_raw(key: str) -> None:
    value: object = [EVIL] if key in ("listeners", "notes") else EVIL
    worker = {"slot": 0, "phase": EVIL, "last_error": EVIL, "note": EVIL}
    slot = {"slot": 1, "last_error": EVIL, "next_start_in": 1, "reasons": [EVIL]}
    reload = {"text": EVIL, EVIL: EVIL}
    status: Message = {**STATUS, key: value, "workers": [worker], "slots": [slot], "reload": reload}
    assert all(line.isprintable() for line in render(status))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(-1e9, 1e9) | st.integers(-9, 10**12) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(STATUS)), JSON))
def test_no_answer_breaks_the_table(status: Message) -> None:
    assert all(line.isprintable() for line in render(status))
