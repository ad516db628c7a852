"""Access lines: uvicorn's very text, cheaply; and whoever sets up logging otherwise is obeyed."""

import asyncio
import logging
import logging.config
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from uvicorn.logging import AccessFormatter as UvicornAccessFormatter

from tercio.http.access import AccessLog, log_websocket
from tercio.logs import ACCESS_LOGGERS, AccessFormatter, LineHandler
from tercio.system.lines import LINE_BYTES, LineWriter

RECORD = '%s - "%s %s HTTP/%s" %d'

Scope = dict[str, Any]


def scope(path: str = "/", query: bytes = b"", **more: object) -> Scope:
    made: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query,
        "http_version": "1.1",
        "client": ("127.0.0.1", 5000),
    }
    return made | more


PLAIN = [
    (scope(), 200),
    (scope("/a b", b"x"), 200),
    (scope("/a/b-c_d.e~f"), 200),
    (scope("/käse/ünder\u2028\u202e"), 404),
    (scope("/%25"), 301),
    (scope("//double//"), 500),
    (scope("/ask", b"a=1&b=%20?"), 200),
    (scope("*", method="OPTIONS"), 204),
    (scope(http_version="1.0"), 200),
    (scope(client=None), 200),
    (scope(client=("2001:db8::1", 0)), 200),
    (scope(), 101),
    (scope(), 299),
    (scope(), 599),
]


class Streams:
    """Our two access loggers as `tercio.logs` sets them up, writing to a pipe."""

    def __init__(self, *, use_colors: bool = False, limit: int = 1000) -> None:
        self._reading, writing = os.pipe()
        self.writer = LineWriter(writing, limit)
        os.close(writing)
        os.set_blocking(self._reading, False)
        self.handler = LineHandler(self.writer)
        self.handler.setFormatter(AccessFormatter(use_colors=use_colors))
        self.install()

    def install(self) -> None:
        for name in ACCESS_LOGGERS:
            logger = logging.getLogger(name)
            logger.handlers = [self.handler]
            logger.filters = []
            logger.propagate = False
            logger.disabled = False
            logger.setLevel(logging.INFO)

    def read(self) -> str:
        """What was written until now."""
        try:
            return os.read(self._reading, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        self.writer.close()
        os.close(self._reading)


Maker = Callable[..., Streams]


@pytest.fixture
def make() -> Iterator[Maker]:
    # Called by the test itself: before its body runs, pytest adds handlers to such loggers.
    loggers = [logging.getLogger(name) for name in ACCESS_LOGGERS]
    before = [
        (each.handlers, each.filters, each.propagate, each.disabled, each.level) for each in loggers
    ]
    made: list[Streams] = []

    def make(**options: Any) -> Streams:
        made.append(Streams(**options))
        return made[-1]

    yield make
    for logger, state in zip(loggers, before, strict=True):
        logger.handlers, logger.filters, logger.propagate, logger.disabled, level = state
        logger.setLevel(level)
    for streams in made:
        streams.close()


def in_loop(turns: Callable[[AccessLog], Any]) -> None:
    """Write to an access log in a loop, and let the loop turn once."""

    async def main() -> None:
        log = AccessLog.of(asyncio.get_running_loop())
        assert log is not None
        turns(log)
        await asyncio.sleep(0)

    asyncio.run(main())


def written(streams: Streams, made: Mapping[str, Any], status: int) -> str:
    in_loop(lambda log: log.write(dict(made), status))
    return streams.read()


# The text


@pytest.mark.parametrize("use_colors", [False, True])
@pytest.mark.parametrize(("made", "status"), PLAIN)
def test_a_line_is_what_uvicorn_would_write(
    make: Maker, made: Scope, status: int, use_colors: bool
) -> None:
    from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

    theirs = UvicornAccessFormatter(
        '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        use_colors=use_colors,
    )
    same: Any = made
    arguments = (
        get_client_addr(same),
        made["method"],
        get_path_with_query_string(same),
        made["http_version"],
        status,
    )
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 1, RECORD, arguments, None)
    streams = make(use_colors=use_colors)
    assert written(streams, made, status) == theirs.format(record) + "\n"


@pytest.mark.parametrize("use_colors", [False, True])
@pytest.mark.parametrize(
    ("made", "status"),
    [
        *PLAIN,
        (scope("/a\r\nINFO: b\x1b[2J\x7f\x00"), 200),
        (scope("/", b"\r\nINFO:\x1b[2J\x00\xff\xa0\xad"), 200),
        (scope(method="G\nT"), 200),
        (scope(client=["\x1b[2J", 5]), 200),
        (scope("/" + "x" * 2 * LINE_BYTES), 200),
        (scope("/", b"\x1b" * 2 * LINE_BYTES), 200),
    ],
)
def test_both_ways_write_the_same(make: Maker, made: Scope, status: int, use_colors: bool) -> None:
    streams = make(use_colors=use_colors)
    cheap = written(streams, made, status)
    assert cheap.count("\n") == 1
    assert "\x1b[2J" not in cheap
    assert len(cheap.encode()) <= LINE_BYTES
    # A filter that lets everything through makes each line a record.
    logging.getLogger("uvicorn.access").addFilter(lambda record: True)
    assert written(streams, made, status) == cheap


def test_a_websocket_is_logged_by_the_server(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tercio.http"):
        made = scope("/a b", b"x", type="websocket")
        log_websocket(made, None)
        log_websocket(made, 403)
    assert [record.getMessage() for record in caplog.records] == [
        '127.0.0.1:5000 - "WebSocket /a%20b?x" [accepted]',
        '127.0.0.1:5000 - "WebSocket /a%20b?x" 403',
    ]


# When, and what is lost


def test_lines_of_one_turn_go_out_together_and_in_order(make: Maker) -> None:
    streams = make()

    async def main() -> None:
        log = AccessLog.of(asyncio.get_running_loop())
        assert log is not None
        for number in range(200):
            log.write(scope(f"/{number}"), 200)
        assert streams.read() == ""
        await asyncio.sleep(0)
        paths = [line.split()[4] for line in streams.read().splitlines()]
        assert paths == [f"/{number}" for number in range(200)]
        # And a lone one at once.
        log.write(scope("/alone"), 200)
        await asyncio.sleep(0)
        assert "/alone" in streams.read()

    asyncio.run(main())


def test_what_others_write_stays_in_order(make: Maker) -> None:
    streams = make()

    def turns(log: AccessLog) -> None:
        log.write(scope("/first"), 200)
        streams.writer.write("second")
        log.write(scope("/third" + "x" * LINE_BYTES), 200)
        log.write(scope("/fourth"), 200)

    in_loop(turns)
    first, second, third, fourth = streams.read().splitlines()
    assert "/first" in first
    assert second == "second"
    assert third.endswith("bytes cut)")
    assert "/fourth" in fourth


def test_a_stuck_reader_costs_lines_and_they_are_counted(make: Maker) -> None:
    streams = make(limit=50)

    def turns(log: AccessLog) -> None:
        for number in range(20_000):
            log.write(scope(f"/{number}"), 200)

    in_loop(turns)
    assert streams.writer.dropped > 0
    assert streams.writer.pending <= 50
    seen = 0
    told = 0
    while seen + told < 20_000:
        for line in streams.read().splitlines():
            if line.endswith("dropped"):
                told += int(line.split()[0])
            elif line.endswith("200 OK"):
                seen += 1
            else:
                raise AssertionError(line)
        streams.writer.flush(0.05)
    assert streams.writer.dropped == told


def test_lines_that_wait_are_written_at_exit() -> None:
    program = (
        "import asyncio, sys\n"
        "from tercio.logs import configure\n"
        "from tercio.options.logs import LogOptions\n"
        "from tercio.http.access import AccessLog\n"
        "configure(LogOptions(log_level='info', use_colors=False), '')\n"
        "async def main():\n"
        "    log = AccessLog.of(asyncio.get_running_loop())\n"
        f"    log.write({scope('/last')!r}, 200)\n"
        "    sys.exit(3)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout == 'INFO:     127.0.0.1:5000 - "GET /last HTTP/1.1" 200 OK\n'


# Whoever sets up logging otherwise


class Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("name", ACCESS_LOGGERS)
def test_a_handler_of_somebody_gets_uvicorns_records(make: Maker, name: str) -> None:
    streams = make()
    keeping = Keeping()
    logging.getLogger(name).handlers = [keeping]
    assert written(streams, scope("/a b", b"c"), 404) == ""
    (record,) = keeping.records
    assert record.args == ("127.0.0.1:5000", "GET", "/a%20b?c", "1.1", 404)
    assert record.getMessage() == '127.0.0.1:5000 - "GET /a%20b?c HTTP/1.1" 404'


@pytest.mark.parametrize("name", ACCESS_LOGGERS)
def test_a_handler_that_is_added_gets_them_beside_ours(make: Maker, name: str) -> None:
    streams = make()
    keeping = Keeping()
    logging.getLogger(name).addHandler(keeping)
    assert '"GET / HTTP/1.1" 200 OK' in written(streams, scope(), 200)
    assert len(keeping.records) == 1


@pytest.mark.parametrize("name", ACCESS_LOGGERS)
def test_a_filter_sees_each_record_and_decides(make: Maker, name: str) -> None:
    streams = make()

    def no_health_checks(record: logging.LogRecord) -> bool:
        return isinstance(record.args, tuple) and record.args[2] != "/health"

    logging.getLogger(name).addFilter(no_health_checks)
    assert written(streams, scope("/health"), 200) == ""
    assert "/page" in written(streams, scope("/page"), 200)


def test_a_filter_of_our_handler_decides_too(make: Maker) -> None:
    streams = make()
    streams.handler.addFilter(lambda record: False)
    assert written(streams, scope(), 200) == ""


def test_a_formatter_of_somebody_makes_the_line(make: Maker) -> None:
    streams = make()
    streams.handler.setFormatter(logging.Formatter("%(name)s says %(message)s"))
    line = written(streams, scope(), 200)
    assert line == 'tercio.access says 127.0.0.1:5000 - "GET / HTTP/1.1" 200\n'


def test_a_formatter_of_uvicorns_makes_the_line(make: Maker) -> None:
    streams = make()
    streams.handler.setFormatter(
        UvicornAccessFormatter('%(client_addr)s|"%(request_line)s"|%(status_code)s')
    )
    assert written(streams, scope(), 200) == '127.0.0.1:5000|"GET / HTTP/1.1"|200 OK\n'


@pytest.mark.parametrize("name", ACCESS_LOGGERS)
@pytest.mark.parametrize("how", ["level", "disabled"])
def test_a_logger_that_is_silenced_is_silent(make: Maker, name: str, how: str) -> None:
    streams = make()
    logger = logging.getLogger(name)
    if how == "level":
        logger.setLevel(logging.WARNING)
    else:
        logger.disabled = True
    assert written(streams, scope(), 200) == ""


def test_logging_that_is_disabled_as_a_whole_is_silent(make: Maker) -> None:
    streams = make()

    def turns(log: AccessLog) -> None:
        logging.disable(logging.INFO)
        log.write(scope(), 200)

    try:
        in_loop(turns)
    finally:
        logging.disable(logging.NOTSET)
    assert streams.read() == ""


def test_a_change_is_heard_while_serving(make: Maker) -> None:
    streams = make()
    keeping = Keeping()
    logger = logging.getLogger("uvicorn.access")

    async def main() -> None:
        log = AccessLog.of(asyncio.get_running_loop())
        assert log is not None
        log.write(scope("/before"), 200)
        await asyncio.sleep(0)
        logger.handlers = [keeping]
        log.write(scope("/between"), 200)
        await asyncio.sleep(0)
        streams.install()
        log.write(scope("/after"), 200)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [line.split()[4] for line in streams.read().splitlines()] == ["/before", "/after"]
    assert len(keeping.records) == 1


def test_dict_config_for_uvicorns_logger_is_obeyed(make: Maker) -> None:
    """It disables the loggers that it does not name, such as ours."""
    streams = make()
    kept: list[Keeping] = []

    def keeping() -> Keeping:
        kept.append(Keeping())
        return kept[-1]

    disabled = {
        name: logger.disabled
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    try:
        logging.config.dictConfig(
            {
                "version": 1,
                "handlers": {"mine": {"()": keeping}},
                "loggers": {"uvicorn.access": {"handlers": ["mine"], "level": "INFO"}},
            }
        )
        assert logging.getLogger("tercio.access").disabled
        assert written(streams, scope(), 200) == ""
    finally:
        for name, was in disabled.items():
            logging.getLogger(name).disabled = was
    assert [len(each.records) for each in kept] == [1]


def test_without_a_handler_there_is_no_access_log(make: Maker) -> None:
    make()
    loop = asyncio.new_event_loop()
    try:
        for name in ACCESS_LOGGERS:
            logging.getLogger(name).handlers = []
        assert AccessLog.of(loop) is None
        logging.getLogger("uvicorn.access").handlers = [Keeping()]
        assert AccessLog.of(loop) is not None
        logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
        assert AccessLog.of(loop) is None
    finally:
        loop.close()


def test_with_our_access_log_off_only_somebodys_handler_gets_records(make: Maker) -> None:
    streams = make()
    keeping = Keeping()
    logging.getLogger("tercio.access").handlers = []
    logging.getLogger("uvicorn.access").handlers = [keeping]
    assert written(streams, scope(), 200) == ""
    assert len(keeping.records) == 1
