"""Secrets are planted everywhere, and looked for in all that a cluster says."""

import json
from pathlib import Path

import pytest

from tests.cluster.harness import QUICK, Cluster

FROM_ENVIRONMENT = "planted-in-the-environment"
FROM_ENV_FILE = "planted-in-an-env-file"
IN_A_URL = "planted-in-a-url"
OF_REDIS = "planted-for-redis"
SECRETS = (FROM_ENVIRONMENT, FROM_ENV_FILE, IN_A_URL, OF_REDIS)

# An application as they are: it puts its secrets into locals, errors, logs and names of tasks.
APP = """
import asyncio, logging, os

PASSWORD = os.environ["DB_PASSWORD"]
URL = os.environ["DATABASE_URL"]
log = logging.getLogger("shop")

async def connect(url, password):
    raise ConnectionError(f"cannot connect to {url} with {password} or {os.environ['API_TOKEN']}")

@at_import@

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        app.waiting = asyncio.create_task(asyncio.sleep(3600), name=f"pool {URL} {PASSWORD}")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        app.waiting.cancel()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/log":
        log.warning("connected to %s", URL, extra={"password": PASSWORD})
        log.warning(PASSWORD)
    else:
        await connect(URL, PASSWORD)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one 1"})
"""


def app(at_import: str = "") -> str:
    return APP.replace("@at_import@", at_import)


def plant(cluster: Cluster) -> None:
    cluster.write_app(app())
    cluster.environ["DB_PASSWORD"] = FROM_ENVIRONMENT
    cluster.environ["DATABASE_URL"] = f"postgres://shop:{IN_A_URL}@db.example:5432/shop"
    cluster.write_app(f"API_TOKEN={FROM_ENV_FILE}\n", ".env")


def told(cluster: Cluster) -> list[str]:
    """All that commands, processes and files say of a cluster that runs."""
    found = [Path(f"/proc/{pid}/cmdline").read_text() for pid in cluster.living()]
    found += [Path(f"/proc/{pid}/comm").read_text() for pid in cluster.living()]
    found += [path.read_text() for path in cluster.runtime.rglob("*") if path.is_file()]
    for words in (
        ("status",), ("status", "--json"), ("config", "--running"), ("config", "--show-origin"),
        ("config", "--running", "--json"), ("dump", "0"), ("dump", "0", "--json"), ("logs",),
        ("logs", "--json"), ("events", "--no-follow"), ("events", "--no-follow", "--json"),
        ("metrics",), ("check", "app:app"),
    ):  # fmt: skip
        done = cluster.tercio(*words)
        found += [done.stdout, done.stderr]
    return found


def assert_clean(outputs: list[str]) -> None:
    for output in outputs:
        for secret in SECRETS:
            assert secret not in output


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_was_planted_is_found_again(cluster: Cluster, form: str) -> None:
    plant(cluster)
    cluster.start("-w", "1", "--env-file", ".env", "--log-format", form, *QUICK)
    pages = [cluster.get(path).text for path in ("/log", "/raise", "/log")]
    cluster.wait_line("cannot connect to")
    # A release that fails at its import, with all of it in its traceback.
    cluster.write_app(app("asyncio.run(connect(URL, PASSWORD))"))
    refused = cluster.tercio("reload")
    assert "cannot connect to" in refused.stdout + refused.stderr
    outputs = [*pages, refused.stdout, refused.stderr, *told(cluster), json.dumps(cluster.events)]
    assert any("***" in output for output in outputs)
    assert "pool postgres://shop:***@db.example:5432/shop ***" in "\n".join(outputs)
    cluster.stop()
    assert_clean([*outputs, *cluster.lines])


def test_redis_with_a_password_from_a_file_is_named_without_it(cluster: Cluster) -> None:
    cluster.write_app(f"redis://:{OF_REDIS}@127.0.0.1:1/0\n", "redis-url")
    cluster.environ["TERCIO_REDIS_FILE"] = "redis-url"
    cluster.start("-w", "1", *QUICK)
    outputs = told(cluster)
    assert 'redis = "***"' in "\n".join(outputs)
    assert "redis-url" in cluster.tercio("config", "--show-origin").stdout
    cluster.stop()
    assert_clean([*outputs, *cluster.lines, json.dumps(cluster.events)])
