"""FastAPI's ordinary features, over a real worker, to the clients that people have."""

import asyncio
import json
from collections.abc import Iterator

import aiohttp
import pytest

from tercio.dataplane.scoreboard import Field
from tests.http.frameworks.clients import Fetch
from tests.http.frameworks.rigs import rig_of
from tests.http.harness import LIMIT
from tests.worker.rig import Rig

pytestmark = pytest.mark.timeout(120)

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_of("fastapi_app", request.param, tmp_path_factory.mktemp("static")) as rig:
        yield rig


def test_parameters_are_parsed(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/items/7?query=%C3%A4%20b")
    assert json.loads(got.body) == {"number": 7, "query": "ä b"}
    assert got.headers["content-type"] == "application/json"
    assert fetch(rig.address, "/items/seven").status == 422


def test_a_body_is_checked(rig: Rig, fetch: Fetch) -> None:
    item = {"name": "x", "price": 1.5, "tags": ["a", "b"]}
    body = json.dumps(item).encode()
    got = fetch(rig.address, "/items", method="POST", headers=JSON, body=body)
    assert (got.status, json.loads(got.body)) == (200, item)
    got = fetch(rig.address, "/items", method="POST", headers=JSON, body=b"{}")
    assert got.status == 422
    got = fetch(rig.address, "/items", method="POST", headers=JSON, body=b"{")
    assert got.status == 422


def test_plain_functions_run_in_threads(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/thread", headers={"X-Name": "me"})
    assert json.loads(got.body) == {"name": "me"}


def test_dependencies_are_given_back(rig: Rig, fetch: Fetch) -> None:
    assert json.loads(fetch(rig.address, "/session").body) == {"given": "session"}
    assert rig.tells() == "given back\n"


def test_tasks_run_after_the_answer(rig: Rig, fetch: Fetch) -> None:
    assert fetch(rig.address, "/background", method="POST").status == 200
    assert rig.tells() == "after the answer\n"


def test_streams_and_uploads_arrive_whole(rig: Rig, fetch: Fetch) -> None:
    expected = b"".join(b"%06d\n" % index for index in range(100))
    assert fetch(rig.address, "/stream").body == expected
    got = fetch(rig.address, "/upload", method="POST", body=bytes(5_000_000))
    assert json.loads(got.body) == {"size": 5_000_000}


def test_errors_are_answered(rig: Rig, fetch: Fetch) -> None:
    got = fetch(rig.address, "/teapot")
    assert (got.status, json.loads(got.body)) == (418, {"detail": "as asked"})
    before = rig.row[Field.STATUS_5XX]
    assert fetch(rig.address, "/raises").status == 500
    rig.count(Field.STATUS_5XX, before + 1)


def test_its_pages_are_served(rig: Rig, fetch: Fetch) -> None:
    assert json.loads(fetch(rig.address, "/openapi.json").body)["openapi"].startswith("3.")
    assert b"swagger" in fetch(rig.address, "/docs").body


def test_a_session_of_aiohttp_keeps_its_connection(rig: Rig) -> None:
    async def run() -> list[object]:
        timeout = aiohttp.ClientTimeout(LIMIT)
        url = "http://{}:{}/items/".format(*rig.address)
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            found: list[object] = []
            for number in range(100):
                async with session.get(f"{url}{number}") as response:
                    found.append((await response.json())["number"])
            return found

    before = rig.row[Field.ACCEPTED]
    assert asyncio.run(run()) == list(range(100))
    rig.count(Field.ACCEPTED, before + 1)


def test_a_websocket_of_aiohttp_speaks(rig: Rig) -> None:
    async def run() -> list[object]:
        timeout = aiohttp.ClientTimeout(LIMIT)
        url = "ws://{}:{}/echo/kitchen".format(*rig.address)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(url, compress=12) as websocket,
        ):
            found: list[object] = []
            for said in ("hello", "ä" * 10_000):
                await websocket.send_str(said)
                found.append(await websocket.receive_json(timeout=LIMIT))
            return found

    assert asyncio.run(run()) == [
        {"room": "kitchen", "said": "hello"},
        {"room": "kitchen", "said": "ä" * 10_000},
    ]
