"""JSON, gunicorn's access lines, and --log-config, of whole clusters."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.harness import DEFAULT_APP, PATIENCE, Cluster

APP = "import asyncio, logging\n" + DEFAULT_APP.replace(
    '    body = f"',
    """    if scope["path"] == "/raise":
        raise ValueError("the reason")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    logging.getLogger("shop").warning("low stock", extra={"item": 7})
    body = f\"""",
)
SLEPT = 0.045
"""Seconds that `/slow` takes at least: uvloop's timers, in milliseconds, may be early by one."""

SERVERS = ("tercio", "uvicorn", "granian")


def objects(cluster: Cluster) -> list[dict[str, Any]]:
    return [json.loads(line) for line in list(cluster.lines)]


def wait_object(cluster: Cluster, accepts: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first line that a test accepts."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for found in objects(cluster):
            if accepts(found):
                return found
        cluster.reading.wait()
        time.sleep(0.01)  # there is no event for a line
    raise AssertionError(cluster.story())


@pytest.mark.parametrize("server", SERVERS)
def test_every_line_is_one_object_with_slot_and_generation(cluster: Cluster, server: str) -> None:
    cluster.write_app(APP)
    # Its first line is how the harness knows that it runs.
    cluster.start("-w", "1", "--log-format", "json", "--server", server)
    cluster.get("/slow?a=1")
    assert cluster.get("/raise").status == 500
    access = wait_object(cluster, lambda line: line.get("path") == "/slow")
    worker = {"slot": 0, "generation": 1, "pid": cluster.pids()[0]}
    expected = {
        "logger": "tercio.access", "method": "GET", "query": "a=1", "status": 200, "level": "info",
    }  # fmt: skip
    assert expected | worker == {name: access[name] for name in expected | worker}
    assert SLEPT <= access["seconds"] < PATIENCE
    assert access["bytes"] == len(f"one {worker['pid']}")
    shop = wait_object(cluster, lambda line: line["logger"] == "shop")
    assert worker | {"item": 7} == {name: shop[name] for name in worker | {"item": 7}}
    failed = wait_object(cluster, lambda line: "exception" in line)
    assert failed["exception"].endswith("ValueError: the reason")
    wait_object(cluster, lambda line: line.get("path") == "/raise" and line["status"] == 500)
    ready = wait_object(cluster, lambda line: line.get("event") == "WorkerReady")
    assert (ready["slot"], ready["worker"], ready["pid"]) == (0, "0.1", cluster.pid)
    assert cluster.stop() == 0
    lines = objects(cluster)
    assert [line for line in lines if line.get("path") == "/slow"] == [access]
    assert len([line for line in lines if line.get("path") == "/raise"]) == 1
    assert all(re.search(r"[+-]\d\d:\d\d$", line["time"]) for line in lines)


@pytest.mark.parametrize("server", SERVERS)
def test_access_lines_in_gunicorns_format(cluster: Cluster, server: str) -> None:
    cluster.write_app(APP)
    form = '%(h)s "%(r)s" %(s)s %(B)s %(L)s %({user-agent}i)s %({content-length}o)s'
    cluster.start("-w", "1", "--access-log-format", form, "--server", server)
    text = cluster.get("/slow?a=1").text
    line = cluster.wait_line("/slow")
    pattern = rf'127\.0\.0\.1 "GET /slow\?a=1 HTTP/1\.1" 200 {len(text)} 0\.\d{{6}} Python-urllib'
    assert re.match(pattern, line)
    assert line.endswith(f" {len(text)}")
    assert float(line.split()[6]) >= SLEPT


def test_what_the_server_itself_answers_has_its_line(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "1", "--log-format", "json", "--limit-concurrency", "1")
    assert cluster.get().status == 503
    assert wait_object(cluster, lambda line: line.get("status") == 503)["path"] == "/"


def test_formats_that_exclude_each_other_are_refused(cluster: Cluster) -> None:
    cluster.start("--log-format", "json", "--access-log-format", "%(h)s", wait="")
    assert cluster.wait_end() == 2
    assert "a JSON line has all fields" in "\n".join(cluster.lines)


CONFIG = {
    "version": 1,
    "formatters": {"mine": {"format": "MINE %(name)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "loggers": {"shop": {"handlers": ["out"]}, "uvicorn.access": {"handlers": ["out"]}},
}
TOML = """
version = 1
formatters.mine.format = "MINE %(name)s %(message)s"
handlers.out = {class = "logging.StreamHandler", formatter = "mine"}
loggers.shop.handlers = ["out"]
loggers."uvicorn.access".handlers = ["out"]
"""
INI = """
[loggers]
keys = root, shop, access
[handlers]
keys = out
[formatters]
keys = mine
[logger_root]
handlers =
[logger_shop]
qualname = shop
handlers = out
[logger_access]
qualname = uvicorn.access
handlers = out
[handler_out]
class = StreamHandler
formatter = mine
args = ()
[formatter_mine]
format = MINE %(name)s %(message)s
"""


@pytest.mark.parametrize(
    ("name", "text"), [("log.json", json.dumps(CONFIG)), ("log.toml", TOML), ("log.ini", INI)]
)
def test_a_file_configures_the_logging_of_workers(cluster: Cluster, name: str, text: str) -> None:
    cluster.write_app(APP)
    cluster.write_app(text, name)
    cluster.start("-w", "1", "--log-config", name)
    cluster.get("/seen")
    assert cluster.wait_line("MINE shop") == "MINE shop low stock"
    assert re.match(r'MINE uvicorn\.access .* - "GET /seen', cluster.wait_line("/seen"))
    cluster.get("/raise")
    assert cluster.wait_line("Exception in ASGI").startswith("ERROR:    [0.1]")  # ours goes on


def test_the_applications_own_configuration_comes_later_and_wins(cluster: Cluster) -> None:
    mine = APP.replace(
        "import asyncio, logging\n",
        "import asyncio, logging\nlogging.getLogger('shop').handlers[0].setFormatter("
        "logging.Formatter('THEIRS %(message)s'))\n",
    )
    cluster.write_app(mine)
    cluster.write_app(json.dumps(CONFIG), "log.json")
    cluster.start("-w", "1", "--log-config", "log.json")
    cluster.get()
    assert cluster.wait_line("low stock") == "THEIRS low stock"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("log.json", "{", "expected JSON"),
        ("log.json", "[]", "version = 1"),
        ("log.toml", "version = ", "expected TOML"),
        ("log.ini", "[loggers]\nkeys=root\n", "sections loggers, handlers and formatters"),
        ("log.yaml", "version: 1", "expected JSON, TOML or ini"),
        ("none.json", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_configuration_error(
    cluster: Cluster, name: str, text: str | None, reason: str
) -> None:
    if text is not None:
        cluster.write_app(text, name)
    cluster.start("--log-config", name, wait="")
    assert cluster.wait_end() == 2
    assert reason in "\n".join(cluster.lines)


def test_a_configuration_that_logging_refuses_fails_the_boot_with_its_reason(
    cluster: Cluster,
) -> None:
    broken = CONFIG | {"handlers": {"out": {"class": "no.such.Handler"}}}
    cluster.write_app(json.dumps(broken), "log.json")
    cluster.start("-w", "1", "--log-config", "log.json", wait="")
    assert cluster.wait_end() == 1
    assert "--log-config log.json" in "\n".join(cluster.lines)
