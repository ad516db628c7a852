"""Spoiled streams break nothing; `scripts/fuzz-http` plays on for as long as one likes."""

from collections.abc import Iterator

import pytest

from tests.http.corpus import CORPUS
from tests.http.moody import Moody, tease
from tests.http.place import Place, place
from tests.http.trials import play

pytestmark = pytest.mark.timeout(120)

_BATCHES = 5
_TRIALS = 60  # in each batch


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as server:
        yield server


@pytest.mark.parametrize("name", CORPUS, ids=lambda name: name.replace(" ", "-"))
def test_what_was_once_hard_is_right(server: Place, name: str) -> None:
    data = CORPUS[name]
    play(server, data, [data])
    play(server, data, [data[at : at + 1] for at in range(len(data))])
    for at in range(1, min(len(data), 200)):
        play(server, data, [data[:at], data[at:]])


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_no_mood_of_an_application_and_no_client_that_leaves_breaks_anything(
    loop: str, batch: int
) -> None:
    moody = Moody()
    with place(loop, moody) as server:
        for trial in range(_TRIALS):
            tease(server, moody, f"moods {batch} {trial}")
