"""Records look as uvicorn's do, are harmless, and never hold the process that logs them."""

import logging
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from uvicorn.logging import AccessFormatter as UvicornAccessFormatter
from uvicorn.logging import DefaultFormatter as UvicornFormatter

from tercio.logs import AccessFormatter, LineFormatter

PRELUDE = """
import logging
from tercio.logs import configure
from tercio.options.logs import LogOptions

def options(level, access, colours):
    return LogOptions(log_level=level, access_log=access, use_colors=colours)

"""

ACCESS = '%s - "%s %s HTTP/%s" %d'

plain = LineFormatter(use_colors=False)
coloured = LineFormatter(use_colors=True)


def record(
    message: str,
    *args: object,
    level: int = logging.INFO,
    name: str = "uvicorn.error",
    **extra: object,
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


class Output(NamedTuple):
    out: list[str]
    err: list[str]


def run(source: str, environ: Mapping[str, str] | None = None) -> Output:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + source],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(environ or {})},
    )
    assert done.returncode == 0, done.stderr
    return Output(done.stdout.splitlines(), done.stderr.splitlines())


def run_on_terminal(source: str, environ: Mapping[str, str]) -> str:
    """Run with stdout on a terminal and return what it shows."""
    terminal, end = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", PRELUDE + source],
            stdout=end,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=60,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environ},
        )
        return os.read(terminal, 65536).decode()
    finally:
        os.close(terminal)
        os.close(end)


# How a record looks


@pytest.mark.parametrize("use_colors", [False, True])
@pytest.mark.parametrize(
    "level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 33]
)
def test_a_record_looks_as_uvicorn_writes_it(use_colors: bool, level: int) -> None:
    theirs = UvicornFormatter("%(levelprefix)s %(message)s", use_colors=use_colors)
    ours = LineFormatter(use_colors=use_colors)
    for made in (
        record("Started on %s", "é", level=level),
        record("plain", level=level, color_message="Started [\x1b[36m%d\x1b[0m]"),
        record("n %d", 7, level=level, color_message="Started [\x1b[36m%d\x1b[0m]"),
    ):
        if "color_message" in made.__dict__ and not made.args:
            made.color_message = "Started [\x1b[1mx\x1b[0m]"
        assert theirs.format(made) == ours.format(made)


@pytest.mark.parametrize("use_colors", [False, True])
@pytest.mark.parametrize("status", [101, 200, 204, 301, 404, 499, 500, 599, 700])
def test_an_access_line_is_exactly_uvicorns(use_colors: bool, status: int) -> None:
    theirs = UvicornAccessFormatter(
        '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        use_colors=use_colors,
    )
    made = record(ACCESS, "127.0.0.1:5000", "GET", "/a?b=%20c", "1.1", status)
    assert theirs.format(made) == AccessFormatter(use_colors=use_colors).format(made)


def test_a_workers_name_ends_the_prefix_but_not_of_access_lines() -> None:
    assert LineFormatter(use_colors=False, name="3.7").format(record("hi")) == "INFO:     [3.7] hi"
    made = record(ACCESS, "1.2.3.4:5", "GET", "/", "1.1", 200)
    expected = 'INFO:     1.2.3.4:5 - "GET / HTTP/1.1" 200 OK'
    assert expected == AccessFormatter(use_colors=False).format(made)


def test_other_records_of_the_access_logger_are_written_too() -> None:
    access = AccessFormatter(use_colors=True)
    assert access.format(record("reopened %s", "x")).endswith(" reopened x")


def test_a_traceback_follows_its_record() -> None:
    made = record("Exception in ASGI application")
    try:
        raise ValueError("the reason")
    except ValueError:
        made.exc_info = sys.exc_info()
    made.stack_info = "Stack (most recent call last):\n  somewhere"
    lines = plain.format(made).split("\n")
    assert lines[:2] == [
        "INFO:     Exception in ASGI application",
        "Traceback (most recent call last):",
    ]
    assert lines[-3:] == [
        "ValueError: the reason",
        "Stack (most recent call last):",
        "  somewhere",
    ]


def test_no_text_can_pass_for_a_record_of_its_own() -> None:
    assert plain.format(record("user %s", "x\nINFO:     fake\nrest")).split("\n") == [
        "INFO:     user x",
        "    INFO:     fake",
        "rest",
    ]
    access = AccessFormatter(use_colors=False)
    line = access.format(record(ACCESS, "a\nINFO: b", "GET", "/\r\nINFO: c\x1b[2J", "1.1", 200))
    assert line == 'INFO:     a\\nINFO: b - "GET /\\r\\nINFO: c\\x1b[2J HTTP/1.1" 200 OK'


def test_no_text_reaches_the_terminal_as_a_command() -> None:
    made = record("%s", "\x1b]0;title\x07\x1b[31m", level=33, levelname="\x1b[5mODD")
    assert "\x1b" not in plain.format(made)
    made = record("%s", "x", color_message="\x1b[1m%s\x1b[0m \x1b[2J")
    made.args = ("\x1b]0;title\x07",)
    assert coloured.format(made).endswith("\x1b[1m\\x1b]0;title\\x07\x1b[0m \\x1b[2J")


# What is set up


def test_records_go_to_the_streams_they_belong_to() -> None:
    output = run(
        """
configure(options("info", True, None), "3.7")
for name in ("tercio", "tercio.primary", "uvicorn", "uvicorn.error", "uvicorn.asgi"):
    logging.getLogger(name).info("from %s", name)
    logging.getLogger(name).debug("not shown")
logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "a:1", "GET", "/", "1.1", 404)
"""
    )
    assert output.out == ['INFO:     a:1 - "GET / HTTP/1.1" 404 Not Found']
    assert output.err == [
        f"INFO:     [3.7] from {name}"
        for name in ("tercio", "tercio.primary", "uvicorn", "uvicorn.error", "uvicorn.asgi")
    ]


def test_without_an_access_log_uvicorn_does_not_even_try() -> None:
    output = run(
        """
configure(options("trace", False, None), "")
logger = logging.getLogger("uvicorn.access")
assert not logger.hasHandlers()
logger.info("x")
logging.getLogger("uvicorn.error").log(5, "detail")
"""
    )
    assert output == Output([], ["TRACE:    detail"])


def test_an_application_without_configuration_gets_pythons_defaults() -> None:
    output = run(
        """
configure(options("info", True, None), "3.7")
logging.getLogger("shop").info("not shown, as without Tercio")
logging.getLogger("shop").warning("low stock\\x1b[2J")
assert not logging.getLogger().handlers
"""
    )
    assert output == Output([], ["WARNING:  [3.7] low stock\\x1b[2J"])


def test_an_applications_basic_config_wins() -> None:
    output = run(
        """
configure(options("info", True, None), "3.7")
logging.basicConfig(format="app %(message)s", level="INFO")
logging.getLogger("shop").info("hello")
logging.getLogger("tercio").info("ours, once")
"""
    )
    assert output == Output([], ["app hello", "INFO:     [3.7] ours, once"])


def test_an_applications_dict_config_does_not_silence_us() -> None:
    output = run(
        """
import logging.config
streams = configure(options("info", True, None), "3.7")
logging.config.dictConfig({
    "version": 1,
    "handlers": {"app": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["app"], "level": "INFO"},
    "loggers": {"uvicorn.access": {"handlers": ["app"]}},
})
streams.restore()
logging.getLogger("shop").info("hello")
logging.getLogger("tercio").info("still here")
logging.getLogger("uvicorn.access").info("the application's own")
"""
    )
    assert output == Output([], ["hello", "INFO:     [3.7] still here", "the application's own"])


def test_a_foreign_formatter_is_made_harmless() -> None:
    output = run(
        """
configure(options("info", True, True), "")
logger = logging.getLogger("tercio")
logger.handlers[0].setFormatter(logging.Formatter("my %(message)s"))
logger.info("\\x1b[2J\\nsecond")
"""
    )
    assert output.err == ["my \\x1b[2J", "second"]


def test_a_record_that_cannot_be_formatted_is_one_line() -> None:
    output = run(
        """
configure(options("info", True, None), "")
logging.getLogger("tercio").info("%d", "x")
"""
    )
    assert len(output.err) == 1
    assert output.err[0].startswith(
        "ERROR:    a log record cannot be formatted: '%d' with ('x',) (<string>:"
    )


def test_a_stuck_reader_holds_neither_the_work_nor_the_end() -> None:
    source = """
streams = configure(options("info", True, None), "")
for number in range(5000):
    logging.getLogger("tercio").info("x" * 200)
assert streams.dropped + streams.pending > 4000
assert not streams.flush(0.01)
"""
    reading, writing = os.pipe()
    try:
        command = [sys.executable, "-c", PRELUDE + source]
        subprocess.run(command, stderr=writing, check=True, timeout=60)
    finally:
        os.close(reading)
        os.close(writing)


def test_both_streams_on_one_pipe_keep_their_order() -> None:
    source = """
streams = configure(options("info", True, None), "")
for number in range(200):
    logging.getLogger("tercio").info("%d", number)
    logging.getLogger("uvicorn.access").info("%d", number)
assert streams.dropped == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + source],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        text=True,
        timeout=60,
    )
    expected = [f"INFO:     {number}" for number in range(200) for _ in range(2)]
    assert expected == done.stdout.splitlines()


LOG_ONE = """
configure(options("info", True, {use_colors}), "")
logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "a:1", "GET", "/", "1.1", 200)
"""


@pytest.mark.parametrize(
    ("use_colors", "environ", "expected"),
    [
        ("None", {}, True),
        ("None", {"NO_COLOR": "1"}, False),
        ("None", {"TERM": "dumb"}, False),
        ("True", {"NO_COLOR": "1"}, True),
        ("False", {}, False),
    ],
)
def test_a_terminal_has_colours_unless_told_otherwise(
    use_colors: str, environ: dict[str, str], expected: bool
) -> None:
    shown = run_on_terminal(LOG_ONE.format(use_colors=use_colors), environ)
    start = "\x1b[32mINFO\x1b[0m:" if expected else "INFO:"
    assert shown.startswith(start)
    assert expected == ("\x1b[1mGET / HTTP/1.1\x1b[0m" in shown)


def test_a_pipe_has_colours_only_when_told() -> None:
    assert run(LOG_ONE.format(use_colors="None")).out[0].startswith("INFO:")
    assert run(LOG_ONE.format(use_colors="True")).out[0].startswith("\x1b[32mINFO\x1b[0m:")
